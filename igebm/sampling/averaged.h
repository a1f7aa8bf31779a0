#pragma once

#include <cstdint>

#include "igebm/sampling/kernel.h"

namespace igebm::sampling {

/// Langevin dynamics with each step's noise averaged with the next one's (Leimkuhler & Matthews 2013, "Rational
/// construction of stochastic numerical methods for molecular sampling"):
///   x <- x - h dE/dx + sqrt(h / 2) (n_k + n_{k+1}).
/// Of a Gaussian of precision p it has the right law at any h below 2 / p, where Langevin's own steps make its variance
/// 1 / (1 - h p / 2) times as large. A run's first n_k has no step before it, and counts sqrt(3)
/// times, so that K steps add the noise of K: without, a run of few steps at each of many noise levels would lose 1 /
/// 2K of the variance. A chain whose energy or gradient is not finite stays where it is.
class AveragedLangevin : public Kernel {
 public:
  /// h above 0; the noise times sqrt(temperature). Throws UserError.
  AveragedLangevin(double step_size, std::uint64_t seed, double temperature = 1);
  StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const override;

 private:
  double step_size_, noise_;
  std::uint64_t seed_;
};

}  // namespace igebm::sampling
