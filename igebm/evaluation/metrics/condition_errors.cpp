#include <ATen/ATen.h>

#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_condition_errors(const Compared& c) {
  const Records& real = c.reference.records;
  const at::Tensor found = real.conditions.index_select(0, nearest_rows(c.samples.x, real.x));
  const at::Tensor errors = (found - c.samples.conditions).abs().mean(0).to(at::kDouble);
  const double* begin = errors.const_data_ptr<double>();
  return {.values = {begin, begin + errors.size(0)}};
}

}  // namespace

/// Of each number that samples were asked for, the mean |asked for - found|, where found is that of the nearest record
/// of the data.
Metric condition_errors() {
  return {.name = "condition_errors",
          .title = "mean error of conditions, read off the nearest real picture",
          .higher_is_better = false,
          .needs = {.asked_numbers = true},
          .always = true,
          .of = Metric::Of::conditions,
          .compute = compute_condition_errors};
}

}  // namespace igebm::evaluation
