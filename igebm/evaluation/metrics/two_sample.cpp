#include "igebm/evaluation/equal_parts.h"
#include "igebm/evaluation/manifold.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_two_sample(const Compared& c) {
  const EqualParts equal = equal_parts(c);
  return {.values = {nearest_is_own(equal.samples, equal.reference)}};
}

}  // namespace

/// How often a nearest neighbour tells samples from data: one half where it cannot (manifold.h).
Metric two_sample() {
  return {.name = "two_sample",
          .title = "two-sample test",
          .higher_is_better = false,
          .needs = {.records = 2, .because = "for a nearest other"},
          .unit = Metric::Unit::fraction,
          .compute = compute_two_sample};
}

}  // namespace igebm::evaluation
