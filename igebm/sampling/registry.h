#pragma once

#include <cstdint>
#include <deque>
#include <memory>
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
  std::int64_t (*gradients)(const SamplerOptions& options) = nullptr;  ///< a step takes; null: one
};

/// The library's, then those registered.
const std::deque<KernelEntry>& kernels();
/// Makes a kernel known by its name. To be called before recipes are read, from one thread. Throws UserError where one
/// of that name is known.
void register_kernel(const KernelEntry& entry);
std::vector<std::string> kernel_names();
/// Does the kernel of that name compare energies? False of one that is not known.
bool compares_energies(const std::string& name);
/// Throws UserError naming those there are.
const KernelEntry& find_kernel(const std::string& name);

}  // namespace igebm::sampling
