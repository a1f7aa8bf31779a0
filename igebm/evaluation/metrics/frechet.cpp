#include <fmt/format.h>

#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_frechet(const Compared& c) {
  const at::Tensor &samples = c.extracted.features, &others = c.reference.extracted.features;
  Figure figure{.values = {frechet_distance(moments(samples), moments(others))}};
  for (const std::int64_t n : {samples.size(0), others.size(0)}) {
    if (n <= samples.size(1)) {
      figure.warnings.push_back(
          fmt::format("{} pictures for {} features: their covariance lacks full rank, and the Frechet distance is "
                      "far from its value for many pictures",
                      n, samples.size(1)));
    }
  }
  return figure;
}

}  // namespace

Metric frechet() {
  return {.name = "frechet",
          .title = "Frechet distance",
          .higher_is_better = false,
          .needs = {.records = 2, .because = "for a covariance"},
          .compute = compute_frechet};
}

}  // namespace igebm::evaluation
