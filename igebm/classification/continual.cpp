#include "igebm/classification/continual.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "igebm/base/error.h"

namespace igebm::classification {
namespace {

/// (K) bool: classes of tasks 0 to t.
at::Tensor classes_until(const Tasks& tasks, std::size_t t, std::int64_t classes) {
  at::Tensor seen = at::zeros({classes}, at::kBool);
  for (std::size_t s = 0; s <= t; ++s)
    for (const std::int64_t y : tasks[s]) seen[y] = true;
  return seen;
}

scoring::Interval fraction_of(const at::Tensor& right) {
  return fraction_right(right.sum().item<std::int64_t>(), right.size(0));
}

}  // namespace

Tasks equal_tasks(std::int64_t classes, std::int64_t per_task) {
  if (classes < 2 || per_task < 1 || per_task >= classes)
    throw UserError(
        fmt::format("expected fewer classes a task than there are ({}), at least 1, got {}", classes, per_task));
  Tasks tasks;
  for (std::int64_t y = 0; y < classes; ++y) {
    if (y % per_task == 0) tasks.emplace_back();
    tasks.back().push_back(y);
  }
  return tasks;
}

double Continual::mean_forgotten() const {
  double sum = 0;
  for (const double f : forgotten) sum += f;
  return forgotten.empty() ? 0 : sum / static_cast<double>(forgotten.size());
}

at::Tensor rows_of_classes(const at::Tensor& labels, const std::vector<std::int64_t>& classes) {
  at::Tensor of = at::zeros({labels.size(0)}, at::kBool);
  for (const std::int64_t y : classes) of.logical_or_(labels.eq(y));
  return of.nonzero().squeeze(1);
}

Continual continual(const std::vector<at::Tensor>& scores, const at::Tensor& labels, const Tasks& tasks) {
  const std::size_t count = tasks.size();
  if (count == 0 || (scores.size() != 1 && scores.size() != count))
    throw UserError(
        fmt::format("continual: expected scores of each of {} tasks, or one for all, got {}", count, scores.size()));
  const std::int64_t classes = scores[0].size(1);
  std::vector<bool> told(static_cast<std::size_t>(classes), false);
  for (const auto& task : tasks)
    for (const std::int64_t y : task) {
      if (y < 0 || y >= classes || told[static_cast<std::size_t>(y)])
        throw UserError(fmt::format("continual: class {} is of no task or of two, or there are only {}", y, classes));
      told[static_cast<std::size_t>(y)] = true;
    }
  std::vector<at::Tensor> of_task;  // which records
  for (const auto& task : tasks) {
    of_task.push_back(rows_of_classes(labels, task));
    if (of_task.back().size(0) == 0) throw UserError("continual: a task has no test records");
  }
  std::vector<std::vector<at::Tensor>> right(count);
  for (std::size_t t = 0; t < count; ++t) {
    const at::Tensor& now = scores[scores.size() == 1 ? 0 : t];
    if (now.dim() != 2 || now.size(0) != labels.size(0) || now.size(1) != classes)
      throw UserError("continual: scores are not those of these labels and classes");
    const at::Tensor open =
        now.masked_fill(classes_until(tasks, t, classes).logical_not(), -std::numeric_limits<double>::infinity());
    const at::Tensor all = open.argmax(1).eq(labels);
    for (std::size_t s = 0; s <= t; ++s) right[t].push_back(all.index_select(0, of_task[s]));
  }
  return continual(right);
}

Continual continual(const std::vector<std::vector<at::Tensor>>& right, const std::vector<std::int64_t>& distinct) {
  Continual found;
  for (const auto& after : right) {
    auto& row = found.accuracy.emplace_back();
    for (const at::Tensor& of_task : after) row.push_back(fraction_of(of_task));
    const scoring::Interval all = fraction_of(at::cat(after));
    found.overall.push_back(distinct.empty() ? all : wilson(all.value, distinct[found.overall.size()]));
  }
  for (std::size_t s = 0; s + 1 < right.size(); ++s) {
    double best = 0;
    for (std::size_t t = s; t < right.size(); ++t) best = std::max(best, found.accuracy[t][s].value);
    found.forgotten.push_back(best - found.accuracy.back()[s].value);
  }
  return found;
}

}  // namespace igebm::classification
