#pragma once

#include <cstdint>
#include <string>

#include "igebm/base/random.h"
#include "igebm/sampling/langevin.h"

namespace igebm::sampling {

/// How a step size is found: during a first share of a run's steps each chain changes its own towards an acceptance
/// (Andrieu & Thoms 2008, section 4.2.2), log delta <- log delta + k^-0.6 (min(1, exp(-dH / T)) - acceptance) at its
/// k-th step, and then keeps it. While it changes, the chains' law is not yet exactly the target's.
struct StepAdaptation {
  double acceptance = 0.574;  ///< in (0, 1)
  double share = 0.5;         ///< of the steps; 0: the step size stays as given
};

/// Metropolis-adjusted Langevin (Roberts & Tweedie 1996): Langevin's step, accepted by what it does to the energy.
struct MalaOptions {
  StepAdaptation adaptation = {.acceptance = 0.574};  ///< the best for many dimensions (Roberts & Rosenthal 1998)
};

/// Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011).
struct HmcOptions {
  std::int64_t leapfrog_steps = 10;  ///< gradients a transition
  double jitter = 0.1;  ///< a transition's delta is one of [1 - jitter, 1 + jitter] times the chain's: no periods
  StepAdaptation adaptation = {.acceptance = 0.651};  ///< the best for many dimensions (Beskos et al. 2013)
};

/// Moves chains by Hamiltonian dynamics and a Metropolis test, which leave p(x) proportional to exp(-E(x) / T) within
/// [low, high] exactly as it is (Neal 2011, section 3), whatever the step size:
///   p ~ N(0, T);  L times: p <- p - delta/2 clip(dE/dx), x <- x + delta p, p <- p - delta/2 clip(dE/dx);
///   x is taken with probability min(1, exp(-dH / T)),  H = E(x) + |p|^2 / 2.
/// delta = sqrt(2 step_size), and T = noise^2 / (2 step_size), times the temperature at the step: with L = 1 that is
/// Langevin's step of the same options, x - step_size clip(dE/dx) + sigma n, and so MALA; noise below 0 is T = 1.
///
/// x that would leave the bounds is reflected there, and so is p; a clamp would spoil the test. Proposals that are not
/// finite are refused. A chain's step size is kept in Chains::state ("mala.log_step", over the options'), with the
/// steps that it has adapted in ("mala.adapted"). L gradients a transition, and one more where E and dE/dx at x are not
/// known (Chains::energy). Energies are compared: they must be computed in float32. Chains on a device are moved by the
/// host, which asks the device for energies.
class Metropolis : public Kernel {
 public:
  /// Throw UserError naming the option that is out of range; noise and temperatures must be above 0 (noise: or below).
  Metropolis(const LangevinOptions& langevin, const MalaOptions& options, std::uint64_t seed);
  Metropolis(const LangevinOptions& langevin, const HmcOptions& options, std::uint64_t seed);
  StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const override;

 private:
  struct Walk;
  Metropolis(const char* name, const LangevinOptions& langevin, const HmcOptions& options, Purpose momentum,
             std::uint64_t seed);
  void set_out(Walk& walk, std::int64_t begin, std::int64_t end) const;
  void go_on(Walk& walk, std::int64_t begin, std::int64_t end, bool last) const;
  void decide(Walk& walk, std::int64_t begin, std::int64_t end) const;

  std::string name_;
  LangevinOptions langevin_;
  HmcOptions options_;
  Purpose momentum_;
  std::uint64_t seed_;
};

}  // namespace igebm::sampling
