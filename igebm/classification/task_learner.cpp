#include "igebm/classification/task_learner.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numeric>

#include "igebm/base/error.h"
#include "igebm/classification/ebm_cl.h"
#include "igebm/classification/kept_body.h"
#include "igebm/classification/perceptron.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/records.h"

namespace igebm::classification {
namespace {

constexpr std::uint64_t permutations = std::uint64_t{1} << 32, learning_orders = std::uint64_t{1} << 33;

/// Rows of a set as one task has them.
at::Tensor rows_as_in(const LearnedTask& task, const LabelledRecords& set, const at::Tensor& rows) {
  const at::Tensor x = evaluation::in_unit(set.x.index_select(0, rows).flatten(1));
  return task.order.defined() ? x.index_select(1, task.order) : x;
}

/// Which of a task's test records are told right among classes that are `open`.
at::Tensor told_right(const TaskLearner& learner, const LearnedTask& task, const LabelledRecords& test,
                      const std::vector<std::int64_t>& open) {
  const at::Tensor candidates = at::tensor(open, at::kLong);
  std::vector<at::Tensor> right;
  for (const at::Tensor& rows : rows_of_classes(test.labels, task.classes).split(2000)) {
    const at::Tensor scores = learner.scores(rows_as_in(task, test, rows)).index_select(1, candidates);
    right.push_back(candidates.index_select(0, scores.argmax(1)).eq(test.labels.index_select(0, rows)));
  }
  return at::cat(right);
}

}  // namespace

TaskAdam::TaskAdam(std::vector<at::Tensor> parameters, double learning_rate)
    : parameters_(std::move(parameters)), learning_rate_(learning_rate) {
  for (const at::Tensor& p : parameters_) {
    first_.push_back(at::zeros_like(p));
    second_.push_back(at::zeros_like(p));
  }
}

void TaskAdam::step(const std::vector<at::Tensor>& gradients) {
  constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  const at::NoGradGuard no_grad;
  const auto t = static_cast<double>(++steps_);
  const double root = std::sqrt(1 - std::pow(beta2, t)), rate = learning_rate_ * root / (1 - std::pow(beta1, t));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    first_[i].mul_(beta1).add_(gradients[i], 1 - beta1);
    second_[i].mul_(beta2).addcmul_(gradients[i], gradients[i], 1 - beta2);
    parameters_[i].addcdiv_(first_[i], second_[i].sqrt().add_(epsilon * root), -rate);
  }
}

std::vector<LearnedTask> split_tasks(std::int64_t classes, std::int64_t per_task) {
  std::vector<LearnedTask> tasks;
  for (auto& task : equal_tasks(classes, per_task)) tasks.push_back({std::move(task)});
  return tasks;
}

std::vector<LearnedTask> permuted_tasks(std::int64_t tasks, std::int64_t elements, std::int64_t classes) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(classes));
  std::iota(all.begin(), all.end(), 0);
  std::vector<LearnedTask> permuted{{all}};
  while (static_cast<std::int64_t>(permuted.size()) < tasks)
    permuted.push_back({all, evaluation::choose(elements, elements, 0, permutations + permuted.size())});
  return permuted;
}

Continual learn_tasks(TaskLearner& learner, const LabelledRecords& train, const LabelledRecords& test,
                      const std::vector<LearnedTask>& tasks, std::int64_t batch_size, std::uint64_t seed,
                      const Progress& progress) {
  std::int64_t total = 0, done = 0;
  for (const LearnedTask& task : tasks) {
    total += rows_of_classes(train.labels, task.classes).size(0);
    if (rows_of_classes(test.labels, task.classes).size(0) == 0)
      throw UserError("continual: a task has no test records");
  }
  std::vector<std::int64_t> open;  // classes so far
  std::vector<std::vector<at::Tensor>> right(tasks.size());
  std::vector<std::int64_t> distinct;  // one record stands in every order of its pixels
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    const at::Tensor own = rows_of_classes(train.labels, tasks[t].classes);
    const at::Tensor rows =
        own.index_select(0, evaluation::choose(own.size(0), own.size(0), seed, learning_orders + t));
    for (const at::Tensor& batch : rows.split(batch_size)) {
      progress(done, total);
      learner.learn(rows_as_in(tasks[t], train, batch), train.labels.index_select(0, batch));
      done += batch.size(0);
    }
    learner.end_task(rows_as_in(tasks[t], train, rows.slice(0, 0, reviewed)));
    open.insert(open.end(), tasks[t].classes.begin(), tasks[t].classes.end());
    distinct.push_back(rows_of_classes(test.labels, open).size(0));
    for (std::size_t s = 0; s <= t; ++s) {
      progress(done, total);
      right[t].push_back(told_right(learner, tasks[s], test, open));
    }
  }
  return continual(right, distinct);
}

const std::vector<LearnerKind>& learner_kinds() {
  static const std::vector<LearnerKind> kinds = {
      {"shared body", "Gaussians of one covariance, in random features that no task changes", false, 128, 0, 0,
       make_shared_body},
      {"EBM-CL", "energies of one trained body, each record against one other class of its batch", false, 32, 1e-4, 0,
       make_ebm_cl},
      {"early body",
       "EBM-CL's body, trained by the first task's first half, then kept; Gaussians of one covariance in it", false,
       128, 3e-5, 0, make_early_body},
      {"fine-tuning", "a perceptron, cross entropy over classes so far", true, 128, 1e-3, 0, make_fine_tuned},
      {"labels trick", "a perceptron, cross entropy over classes of the batch", true, 128, 1e-4, 0, make_labels_trick},
      {"EWC", "fine-tuning, held by summed Fisher informations (online)", true, 128, 1e-3, 1e4, make_ewc},
      {"SI", "fine-tuning, held by what each weight did for the loss", true, 128, 1e-3, 1, make_si},
  };
  return kinds;
}

}  // namespace igebm::classification
