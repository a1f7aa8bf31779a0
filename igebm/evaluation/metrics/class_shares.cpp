#include <ATen/ATen.h>

#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_class_shares(const Compared& c) {
  const at::Tensor& probabilities = c.extracted.probabilities;
  const at::Tensor fractions = probabilities.argmax(1).bincount({}, probabilities.size(1)).to(at::kDouble) /
                               static_cast<double>(probabilities.size(0));
  const double* begin = fractions.const_data_ptr<double>();
  return {.values = {begin, begin + fractions.size(0)}};
}

}  // namespace

/// Of samples by their most probable class: modes that are missing show here.
Metric class_shares() {
  return {.name = "class_shares",
          .title = "fractions of classes",
          .needs = {.told_classes = true},
          .always = true,
          .of = Metric::Of::classes,
          .unit = Metric::Unit::fraction,
          .compute = compute_class_shares};
}

}  // namespace igebm::evaluation
