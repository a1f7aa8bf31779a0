#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/manifold.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_density(const Compared& c) {
  const EqualParts equal = equal_parts(c);
  return {.values = {balls_around(equal.samples, equal.reference, 5)}};
}

}  // namespace

/// Precision that counts in how many balls a sample lies, so that one odd record makes little of it (manifold.h).
Metric density() {
  return {.name = "density",
          .title = "density",
          .higher_is_better = true,
          .needs = {.records = 6, .because = "for the fifth nearest other"},
          .compute = compute_density};
}

}  // namespace igebm::evaluation
