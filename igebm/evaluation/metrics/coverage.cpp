#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/manifold.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_coverage(const Compared& c) {
  const EqualParts equal = equal_parts(c);
  return {.values = {balls_held(equal.samples, equal.reference, 5)}};
}

}  // namespace

/// How many records have a sample within their ball (manifold.h).
Metric coverage() {
  return {.name = "coverage",
          .title = "coverage",
          .higher_is_better = true,
          .needs = {.records = 6, .because = "for the fifth nearest other"},
          .unit = Metric::Unit::fraction,
          .compute = compute_coverage};
}

}  // namespace igebm::evaluation
