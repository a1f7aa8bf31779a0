#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/classification/continual.h"

/// Networks with one body for all classes, trained on one task after another. Here forgetting is real.
namespace igebm::classification {

/// Adam (Kingma & Ba 2015), its moments kept from task to task.
class TaskAdam {
 public:
  TaskAdam(std::vector<at::Tensor> parameters, double learning_rate);
  /// One step; gradients in the parameters' order.
  void step(const std::vector<at::Tensor>& gradients);
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

 private:
  std::vector<at::Tensor> parameters_, first_, second_;
  double learning_rate_;
  std::int64_t steps_ = 0;
};

class TaskLearner {
 public:
  virtual ~TaskLearner() = default;
  /// One step on a batch of the task that is on: x (n, d) float in [0, 1], labels (n) int64.
  virtual void learn(const at::Tensor& x, const at::Tensor& labels) = 0;
  /// The task is over; up to `reviewed` of its own records, which may be looked at once more.
  virtual void end_task(const at::Tensor& /*x*/) {}
  /// The greater the likelier: (n, K).
  virtual at::Tensor scores(const at::Tensor& x) const = 0;
  virtual std::int64_t numbers() const = 0;  ///< kept between tasks; without Adam's moments
};

/// What all learners are told.
struct LearnerOptions {
  std::int64_t hidden = 400;     ///< units of a trained body
  std::int64_t features = 2000;  ///< units of a body that is not trained, or no more after the first task's begin
  std::int64_t first = 0;        ///< records after which that body is kept
  std::optional<double> learning_rate = {}, strength = {};  ///< else the kind's own
  std::optional<std::int64_t> batch = {};                   ///< the same
  std::uint64_t seed = 0;
};

/// A way to learn tasks, by its name.
struct LearnerKind {
  std::string_view name, about;
  bool baseline;
  std::int64_t batch;
  double learning_rate, strength;  ///< chosen on held-out training records (docs/results/continual.md)
  std::unique_ptr<TaskLearner> (*make)(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                       const LearnerKind& kind);
  double rate(const LearnerOptions& o) const { return o.learning_rate.value_or(learning_rate); }
  double force(const LearnerOptions& o) const { return o.strength.value_or(strength); }
};
const std::vector<LearnerKind>& learner_kinds();

/// Records of these classes, their elements in this order.
struct LearnedTask {
  std::vector<std::int64_t> classes;
  at::Tensor order = {};  ///< (d) int64; undefined: as they are
};

/// equal_tasks, their elements as they are. Throws UserError.
std::vector<LearnedTask> split_tasks(std::int64_t classes, std::int64_t per_task);

/// Tasks of all classes whose elements are in an order of their own (Goodfellow et al. 2013); the first task's are as
/// they were. The same for every learner and seed.
std::vector<LearnedTask> permuted_tasks(std::int64_t tasks, std::int64_t elements, std::int64_t classes);

struct LabelledRecords {
  at::Tensor x, labels;  ///< uint8 or float (N, ...), (N) int64
};

/// Records at most that a learner sees again at the end of their task.
constexpr std::int64_t reviewed = 1000;

/// Each task's records once, in an order by seed, in batches; the test records of all tasks so far after each, told
/// among the classes so far. `progress` hears how many records were learned, of how many.
Continual learn_tasks(TaskLearner& learner, const LabelledRecords& train, const LabelledRecords& test,
                      const std::vector<LearnedTask>& tasks, std::int64_t batch, std::uint64_t seed,
                      const Progress& progress);

}  // namespace igebm::classification
