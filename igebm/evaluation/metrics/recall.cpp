#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/manifold.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_recall(const Compared& c) {
  const EqualParts equal = equal_parts(c);
  return {.values = {within_balls(equal.reference, equal.samples, 3)}};
}

}  // namespace

/// How much of the data samples cover: records that lie within the ball of a sample (manifold.h).
Metric recall() {
  return {.name = "recall",
          .title = "recall",
          .higher_is_better = true,
          .needs = {.records = 4, .because = "for the third nearest other"},
          .unit = Metric::Unit::fraction,
          .compute = compute_recall};
}

}  // namespace igebm::evaluation
