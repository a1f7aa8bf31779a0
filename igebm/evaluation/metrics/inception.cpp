#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

constexpr std::int64_t parts = 10;

Figure compute_inception(const Compared& c) {
  const Estimate e = inception_score(c.extracted.probabilities, parts);
  return {.values = {e.mean}, .deviation = e.deviation};
}

}  // namespace

Metric inception() {
  return {.name = "inception",
          .title = "Inception score",
          .higher_is_better = true,
          .needs = {.records = parts, .because = "one for each part", .told_classes = true},
          .compute = compute_inception};
}

}  // namespace igebm::evaluation
