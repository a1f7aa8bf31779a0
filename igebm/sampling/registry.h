#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "igebm/sampling/sampler.h"

namespace igebm::sampling {

/// A kernel that SamplerOptions::kernel can name: what moves chains after the flow.
struct KernelEntry {
  const char* name;   ///< in recipes
  const char* steps;  ///< what its steps are called: "Langevin"
  bool compares;      ///< does it compare energies? They must then be computed in float32
  /// Throws UserError for options that do not fit it.
  std::unique_ptr<Kernel> (*make)(const SamplerOptions& options, std::uint64_t seed);
};

std::span<const KernelEntry> kernels();
std::vector<std::string> kernel_names();
/// Throws UserError naming those there are.
const KernelEntry& find_kernel(const std::string& name);

}  // namespace igebm::sampling
