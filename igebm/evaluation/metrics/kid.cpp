#include <algorithm>

#include "igebm/evaluation/formulas.h"
#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {
namespace {

Figure compute_kid(const Compared& c) {
  const at::Tensor &samples = c.extracted.features, &others = c.reference.extracted.features;
  KernelDistanceOptions options{.seed = c.seed};
  options.subset_size = std::min({options.subset_size, samples.size(0), others.size(0)});
  const Estimate e = kernel_distance(samples, others, options);
  return {.values = {e.mean}, .deviation = e.deviation, .details = {{"subset_size", options.subset_size}}};
}

}  // namespace

/// Over 100 random subsets of 1,000, or of all where there are fewer.
Metric kid() {
  return {.name = "kid",
          .title = "KID",
          .higher_is_better = false,
          .needs = {.records = 2, .because = "for pairs of them"},
          .compute = compute_kid};
}

}  // namespace igebm::evaluation
