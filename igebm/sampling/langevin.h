#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "igebm/energy/capabilities.h"
#include "igebm/sampling/kernel.h"
#include "igebm/sampling/step_rule.h"

namespace igebm::sampling {

/// Unadjusted Langevin dynamics in IGEBM's form, where step and noise are set apart:
///   x <- clamp(x - step_size * clip(dE/dx, +-gradient_clip) + sigma_k n),  n ~ N(0, 1),
///   sigma_k = noise * sqrt(T_k),  T_k from temperature_start to temperature_end, geometrically over the run.
/// With noise = sqrt(2 step_size) it is the discretised Langevin diffusion of exp(-E / T).
struct LangevinOptions {
  double step_size = 10;
  double noise = 0.005;                                            ///< standard deviation; negative: sqrt(2 step_size)
  double gradient_clip = std::numeric_limits<double>::infinity();  ///< on each element of dE/dx
  double low = -std::numeric_limits<double>::infinity();           ///< clamp
  double high = std::numeric_limits<double>::infinity();
  double temperature_start = 1, temperature_end = 1;  ///< both 0: noiseless descent
  /// As IGEBM's released code: add noise, then take the gradient there, then step and clamp. A chain whose gradient is
  /// not finite there stays where it was before the noise.
  bool noise_first = false;
};

StepRule rule_of(const LangevinOptions& options);

/// Throws UserError naming `who` and the option that is out of range.
void check(const char* who, const LangevinOptions& options);

class Langevin : public Kernel {
 public:
  /// Throws UserError naming the option that is out of range.
  Langevin(const LangevinOptions& options, std::uint64_t seed);
  StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const override;
  /// An energy that needs no tensors (energy::PlainLoop) is moved block by block of chains, all steps within the cache.
  StepInfo transitions(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const override;
  /// Where the step at `position` will take its gradient, (N, ...): a copy of the chains' x, with noise_first plus that
  /// step's noise.
  at::Tensor gradient_point(const Chains& chains, Position position) const;

 private:
  /// What the steps of a run write again and again.
  struct Scratch {
    energy::EnergyAndGradient result;
    std::vector<float> noise, before;
  };
  StepInfo step(const energy::Energy& energy, Chains& chains, Position position, Scratch& scratch) const;
  StepInfo on_device(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const;
  StepInfo fused(const energy::PlainLoop& energy, Chains& chains, Position first, std::int64_t steps) const;

  LangevinOptions options_;
  std::uint64_t seed_;
};

}  // namespace igebm::sampling
