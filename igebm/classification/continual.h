#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "igebm/classification/calibration.h"

/// Learning classes one task after another: what is still known of the earlier ones?
namespace igebm::classification {

/// The classes that each task brings.
using Tasks = std::vector<std::vector<std::int64_t>>;

/// {0, ..., per_task - 1}, {per_task, ...}, ...; the last may be smaller. Throws UserError.
Tasks equal_tasks(std::int64_t classes, std::int64_t per_task);

/// Which of records with these labels, (N) int64, are of these classes: (n) int64.
at::Tensor rows_of_classes(const at::Tensor& labels, const std::vector<std::int64_t>& classes);

struct Continual {
  /// [t][s], s <= t: of test records of task s, told after task t among all classes of tasks 0 to t; no record's task
  /// is told.
  std::vector<std::vector<scoring::Interval>> accuracy;
  std::vector<scoring::Interval> overall;  ///< of test records of all those tasks
  /// Of each task but the last: its accuracy at best, less that after the last task (Chaudhry et al. 2018). Part of
  /// that is no forgetting: there are more classes to tell apart.
  std::vector<double> forgotten;
  double mean_forgotten() const;
};

/// right[t][s], s <= t: (n) bool, of test records of task s after task t. distinct: how many different records those of
/// tasks 0 to t are, which is what the interval of `overall` goes by; empty: all are different.
Continual continual(const std::vector<std::vector<at::Tensor>>& right, const std::vector<std::int64_t>& distinct = {});

/// scores: after each task (N, K), the greater the likelier is a class; one tensor stands for all tasks, where no later
/// task changes what is said of an earlier one's classes. labels: (N) int64. Every class of the labels is of one task.
/// Throws UserError where the shapes do not fit.
Continual continual(const std::vector<at::Tensor>& scores, const at::Tensor& labels, const Tasks& tasks);

}  // namespace igebm::classification
