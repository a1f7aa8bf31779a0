#include "igebm/sampling/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "igebm/base/error.h"
#include "igebm/sampling/metropolis.h"

namespace igebm::sampling {
namespace {

const std::array<KernelEntry, 3> entries = {{
    {"langevin", "Langevin", false,
     [](const SamplerOptions& o, std::uint64_t seed) -> std::unique_ptr<Kernel> {
       return std::make_unique<Langevin>(o.langevin, seed);
     }},
    {"mala", "MALA", true,
     [](const SamplerOptions& o, std::uint64_t seed) -> std::unique_ptr<Kernel> {
       return std::make_unique<Metropolis>(o.langevin, o.mala, seed);
     }},
    {"hmc", "HMC", true,
     [](const SamplerOptions& o, std::uint64_t seed) -> std::unique_ptr<Kernel> {
       return std::make_unique<Metropolis>(o.langevin, o.hmc, seed);
     }},
}};

}  // namespace

std::span<const KernelEntry> kernels() { return entries; }

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const KernelEntry& entry : entries) names.emplace_back(entry.name);
  return names;
}

const KernelEntry& find_kernel(const std::string& name) {
  const auto* found = std::ranges::find_if(entries, [&](const KernelEntry& entry) { return entry.name == name; });
  if (found == entries.end())
    throw UserError(
        fmt::format("sampling.kernel: expected \"{}\", got \"{}\"", fmt::join(kernel_names(), "\", \""), name));
  return *found;
}

}  // namespace igebm::sampling
