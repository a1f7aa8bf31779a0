#pragma once

#include <cstdint>
#include <vector>

#include "igebm/sampling/kernel.h"

namespace igebm::sampling {

/// Langevin steps of chains on a CUDA device, with the same noise as on the CPU: the same random words, normals equal
/// to rounding. The gradient may come in any type; state and update are float.
struct DeviceLangevin {
  double step_size, gradient_clip, low, high;
  std::vector<double> sigmas;  ///< the noise's standard deviation of each step
  bool noise_first = false;
  std::uint64_t seed = 0;
};

/// As many steps as there are sigmas, in place. Recordable energies (energy::recordings) run as CUDA graphs of up to 64
/// steps, recorded at the first use and kept with the energy; others step by step. Waits for the device once, at the
/// end. Returns the last step's info, with non_finite of all. A build without CUDA throws UserError.
StepInfo langevin_on_device(const DeviceLangevin& langevin, const energy::Energy& energy, Chains& chains);

}  // namespace igebm::sampling
