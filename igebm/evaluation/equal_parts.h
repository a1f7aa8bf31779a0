#pragma once

#include <ATen/core/Tensor.h>

#include "igebm/evaluation/metrics.h"

namespace igebm::evaluation {

/// As many features of samples as of the reference, and at most `most`: the same rows for metrics of one seed.
struct EqualParts {
  static constexpr std::int64_t most = 10000;
  at::Tensor samples, reference;
};
EqualParts equal_parts(const Compared& compared);

}  // namespace igebm::evaluation
