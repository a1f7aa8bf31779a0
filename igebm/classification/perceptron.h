#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "igebm/classification/task_learner.h"

/// Baselines of continual learning: a softmax perceptron of two hidden layers that is trained on task after task, as it
/// is, or held near to what earlier tasks left.
namespace igebm::classification {

/// Uniform in +-scale, of numbers of (seed, stream).
at::Tensor uniform_weights(at::IntArrayRef shape, double scale, std::uint64_t seed, std::uint64_t stream);

/// A quadratic hold: strength / 2 times the sum of importance (p - anchor)^2.
struct Hold {
  std::vector<at::Tensor> anchors, importance;
  /// Of no importance, at where the parameters are.
  explicit Hold(const std::vector<at::Tensor>& parameters);
  /// More importance, and the parameters as they are now are the anchors.
  void add(const std::vector<at::Tensor>& more, const std::vector<at::Tensor>& parameters);
  /// Its gradient added to gradients.
  void pull(std::vector<at::Tensor>& gradients, const std::vector<at::Tensor>& parameters, double strength) const;
};

/// What each parameter did for the loss on its way, and from that its importance (synaptic intelligence, Zenke et al.
/// 2017, arXiv 1703.04200).
class PathIntegral {
 public:
  explicit PathIntegral(const std::vector<at::Tensor>& parameters);
  /// A step from `before` to `after`, where the task's own loss had these gradients.
  void step(const std::vector<at::Tensor>& gradients, const std::vector<at::Tensor>& before,
            const std::vector<at::Tensor>& after);
  /// 2 max(0, work) / (way^2 + damping), way from the anchors (Zenke's c is then a hold's strength); begins anew.
  std::vector<at::Tensor> finish(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& anchors,
                                 double damping);

 private:
  std::vector<at::Tensor> work_;
};

/// A perceptron's parameters: weights (d, h), (h, h), (h, K) and offsets, in turn.
using PerceptronWeights = std::vector<at::Tensor>;
PerceptronWeights begin_perceptron(std::int64_t elements, std::int64_t hidden, std::int64_t classes,
                                   std::uint64_t seed);
/// (n, d) -> (n, K)
at::Tensor logits_of(const PerceptronWeights& p, const at::Tensor& x);
/// The mean over records of the expected square of d log p(y | x) / d parameter, y of the perceptron's own law over
/// classes that are `open` (K) bool: Fisher's information, its diagonal.
std::vector<at::Tensor> fisher_information(const PerceptronWeights& p, const at::Tensor& x, const at::Tensor& open);

std::unique_ptr<TaskLearner> make_fine_tuned(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                             const LearnerKind& kind);
/// The softmax runs over the classes of the batch alone, so that no other class is pushed away (Zeno et al. 2018).
std::unique_ptr<TaskLearner> make_labels_trick(std::int64_t elements, std::int64_t classes,
                                               const LearnerOptions& options, const LearnerKind& kind);
/// Elastic weight consolidation (Kirkpatrick et al. 2017), online: one sum of all tasks' Fisher informations, and the
/// last task's parameters as anchors (Schwarz et al. 2018, nothing decays).
std::unique_ptr<TaskLearner> make_ewc(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                      const LearnerKind& kind);
std::unique_ptr<TaskLearner> make_si(std::int64_t elements, std::int64_t classes, const LearnerOptions& options,
                                     const LearnerKind& kind);

}  // namespace igebm::classification
