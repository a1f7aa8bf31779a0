#pragma once

#include <cstdint>
#include <vector>

#include "igebm/sampling/sampler.h"

/// What changes over a run's steps: temperatures, noise, noise levels and the steps that go with them.
namespace igebm::sampling {

/// How far a run of `total` has come at `step`: 0 at its first, 1 at its last, and 1 where there is only one.
double way(Position position);

/// from (to / from)^t: the geometric progression from `from` to `to`, both above 0.
double geometric(double from, double to, double t);

/// T at a step: geometric over the run from temperature_start to temperature_end; straight where one of them is 0.
double temperature(const LangevinOptions& options, Position position);

/// sigma_k = noise sqrt(T_k), the standard deviation of a step's noise; noise below 0 is sqrt(2 step_size).
double noise_of(const LangevinOptions& options, Position position);

/// The T of which exp(-E / T) is the law that steps of this size and noise are the diffusion of: sigma_k^2 / (2
/// step_size).
double target_temperature(const LangevinOptions& options, Position position);

/// What chains do at one noise level: Langevin steps, then a step down the slope or none. Where step sizes were learned
/// (AnnealingOptions::step_shares) half of the steps are no longer than exact_share: long ones cross what is flat, and
/// where noise alone bends the energy, as at edges, they would be refused for ever.
struct NoiseLevel {
  double sigma = 0;
  double next = 0;  ///< sigma of the level to come, which the step down leads to; 0 after the last
  LangevinOptions mixing, fine, descent;
  std::int64_t mixing_steps = 0, fine_steps = 0, descent_steps = 0;
};

/// All of them, from sigma_max to sigma_min (AnnealingOptions), with the steps of a composition of that weight.
std::vector<NoiseLevel> noise_levels(const SamplerOptions& options, const NoiseRange& range);

}  // namespace igebm::sampling
