#pragma once

#include <cstdint>
#include <vector>

#include "igebm/sampling/sampler.h"

namespace igebm::sampling {

/// Step sizes of a Metropolis kernel at each noise level, in units of sigma^2 / W (AnnealingOptions::step_shares),
/// learned by `count` chains of records of `shape` that go ahead of those that samples are made of: one for all chains,
/// so that it does not depend on where a chain is, and the same for any number of samples. Of kernels without
/// acceptance: none.
std::vector<double> learn_step_shares(const SamplerOptions& options, const NoiseRange& range,
                                      const EnergiesAt& energies_at, const std::vector<std::int64_t>& shape,
                                      std::int64_t count, c10::Device device, std::uint64_t seed);

}  // namespace igebm::sampling
