#include "igebm/evaluation/quality.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "igebm/base/error.h"

namespace igebm::evaluation {

void check_count(const QualityOptions& options, std::int64_t count, const std::string& whose) {
  const bool in_parts = std::count(options.metrics.begin(), options.metrics.end(), "inception") > 0;
  if (in_parts && count < options.splits)
    throw UserError(fmt::format("{}: Inception score: expected at least {} records, one for each part, got {}", whose,
                                options.splits, count));
}

Quality measure(const Extracted& samples, const Extracted& against, const QualityOptions& options) {
  Quality q;
  q.count = samples.features.size(0);
  const std::int64_t width = samples.features.size(1), others = against.features.size(0);
  for (const std::string& metric : options.metrics) {
    if (metric == "frechet") {
      q.frechet = frechet_distance(moments(samples.features), moments(against.features));
      for (const std::int64_t n : {q.count, others}) {
        if (n <= width) {
          q.warnings.push_back(
              fmt::format("{} pictures for {} features: their covariance lacks full rank, and the Frechet distance is "
                          "far from its value for many pictures",
                          n, width));
        }
      }
    } else if (metric == "kid") {
      q.subset_size = std::min({options.subset_size, q.count, others});
      q.kid = kernel_distance(samples.features, against.features,
                              {.subsets = options.subsets, .subset_size = q.subset_size, .seed = options.seed});
    } else if (metric == "inception") {
      if (!samples.probabilities.defined())
        throw UserError("--metric inception: these features tell no classes, which the Inception score is made of");
      q.inception = inception_score(samples.probabilities, options.splits);
    } else {
      throw UserError(fmt::format("metric: expected \"frechet\", \"kid\" or \"inception\", got \"{}\"", metric));
    }
  }
  if (samples.probabilities.defined()) {
    const at::Tensor chosen =
        samples.probabilities.argmax(1).bincount({}, samples.probabilities.size(1)).to(at::kDouble) /
        static_cast<double>(q.count);
    q.class_shares.assign(chosen.const_data_ptr<double>(), chosen.const_data_ptr<double>() + chosen.size(0));
  }
  return q;
}

}  // namespace igebm::evaluation
