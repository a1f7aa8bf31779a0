#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/manifold.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_precision(const Compared& c) {
  const EqualParts equal = equal_parts(c);
  return {.values = {within_balls(equal.samples, equal.reference, 3)}};
}

}  // namespace

/// How many samples look like data: they lie within the ball of a record (manifold.h).
Metric precision() {
  return {.name = "precision",
          .title = "precision",
          .higher_is_better = true,
          .needs = {.records = 4, .because = "for the third nearest other"},
          .unit = Metric::Unit::fraction,
          .compute = compute_precision};
}

}  // namespace igebm::evaluation
