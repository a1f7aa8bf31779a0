#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_labels_right(const Compared& c) {
  return {.values = {label_accuracy(c.extracted.probabilities, c.samples.labels)}};
}

}  // namespace

/// Label accuracy: the fraction of samples whose most probable class is the one that they were asked to be.
Metric labels_right() {
  return {.name = "labels_right",
          .title = "label right",
          .higher_is_better = true,
          .needs = {.labels = true},
          .always = true,
          .unit = Metric::Unit::fraction,
          .compute = compute_labels_right};
}

}  // namespace igebm::evaluation
