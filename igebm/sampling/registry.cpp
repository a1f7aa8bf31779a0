#include "igebm/sampling/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>

#include "igebm/base/error.h"
#include "igebm/sampling/metropolis.h"

namespace igebm::sampling {
namespace {

std::deque<KernelEntry>& entries() {
  static std::deque<KernelEntry> all = {
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
       },
       [](const SamplerOptions& o) { return o.hmc.leapfrog_steps; }},
  };
  return all;
}

const KernelEntry* known(const std::string& name) {
  const auto found = std::ranges::find_if(entries(), [&](const KernelEntry& entry) { return entry.name == name; });
  return found == entries().end() ? nullptr : &*found;
}

}  // namespace

const std::deque<KernelEntry>& kernels() { return entries(); }

void register_kernel(const KernelEntry& entry) {
  if (known(entry.name) != nullptr) throw UserError(fmt::format("a kernel \"{}\" is known already", entry.name));
  entries().push_back(entry);
}

bool compares_energies(const std::string& name) {
  const KernelEntry* found = known(name);
  return found != nullptr && found->compares;
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const KernelEntry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

const KernelEntry& find_kernel(const std::string& name) {
  const KernelEntry* found = known(name);
  if (found == nullptr)
    throw UserError(
        fmt::format("sampling.kernel: expected \"{}\", got \"{}\"", fmt::join(kernel_names(), "\", \""), name));
  return *found;
}

}  // namespace igebm::sampling
