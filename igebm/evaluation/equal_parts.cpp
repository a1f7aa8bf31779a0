#include "igebm/evaluation/equal_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "igebm/evaluation/formulas.h"

namespace igebm::evaluation {

EqualParts equal_parts(const Compared& c) {
  const at::Tensor &samples = c.extracted.features, &others = c.reference.extracted.features;
  const std::int64_t count = std::min({samples.size(0), others.size(0), EqualParts::most});
  const auto some = [&](const at::Tensor& features, std::uint64_t stream) {
    return features.size(0) == count ? features
                                     : features.index_select(0, choose(features.size(0), count, c.seed, stream));
  };
  return {some(samples, ~std::uint64_t{1}), some(others, ~std::uint64_t{2})};
}

}  // namespace igebm::evaluation
