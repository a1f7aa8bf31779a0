#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "igebm/sampling/schedule.h"

namespace igebm::sampling {

/// The predictor's memory from level to level (AnnealingOptions::order): chains go down the slope of other energies
/// than the level's, whose D is D + h / 2h' (D - D').
class Predictor {
 public:
  /// Of a composition of that weight (NoiseRange::weight).
  Predictor(std::int64_t order, double weight) : order_(order), weight_(weight) {}

  /// The energies for the step down from that level; the same ones with order 1, and after a kernel's steps at the
  /// level, which moved D themselves. Their gradient is to be taken once at each level. A chain whose D was not finite
  /// is led by the next one that is.
  std::vector<energy::EnergyPtr> at(const NoiseLevel& level, const std::vector<energy::EnergyPtr>& energies);

 private:
  std::int64_t order_;
  double weight_, last_ = 0;                                             // h' of the step before, 0: none
  std::shared_ptr<at::Tensor> before_ = std::make_shared<at::Tensor>();  // D'
};

}  // namespace igebm::sampling
