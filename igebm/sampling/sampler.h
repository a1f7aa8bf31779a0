#pragma once

#include "igebm/sampling/flow.h"
#include "igebm/sampling/langevin.h"

namespace igebm::sampling {

/// How a model is sampled from nothing: start, flow (0 steps: none), then Langevin (0 steps: none).
struct SamplerOptions {
  StartOptions start;
  FlowOptions flow = {0, "euler"};
  std::int64_t steps = 60;  ///< of Langevin
  /// Above 0: the diffusion time that they cover together, step_size = time / steps. More steps then follow the same
  /// diffusion more finely; they do not go further.
  double time = 0;
  LangevinOptions langevin = {};
  /// Models that take the steps in turn, as IGEBM's best figures do with the last 10 checkpoints; whoever samples
  /// brings as many.
  std::int64_t ensemble = 1;
};

/// Moves chains through flow and Langevin. Reports every step: positions count both stages together.
void sample(const SamplerOptions& options, const energy::Energy& energy, Chains& chains, std::uint64_t seed,
            const OnStep& on_step = {});

/// The same with an ensemble's energies, oldest first: each step is another's, in turn, the last one's the newest's.
void sample(const SamplerOptions& options, const std::vector<energy::EnergyPtr>& energies, Chains& chains,
            std::uint64_t seed, const OnStep& on_step = {});

}  // namespace igebm::sampling
