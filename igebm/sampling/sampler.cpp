#include "igebm/sampling/sampler.h"

#include "igebm/base/error.h"

namespace igebm::sampling {
namespace {

/// Moves chains through both stages; move(kernel, offset, steps) takes `steps` steps with it, the `offset`-th first.
template <typename Move>
void both_stages(const SamplerOptions& options, std::uint64_t seed, const Move& move) {
  if (options.flow.steps > 0) move(Flow(options.flow), 0, options.flow.steps);
  if (options.steps == 0) return;
  LangevinOptions langevin = options.langevin;
  if (options.time > 0) langevin.step_size = options.time / static_cast<double>(options.steps);
  move(Langevin(langevin, seed), options.flow.steps, options.steps);
}

}  // namespace

void sample(const SamplerOptions& options, const energy::Energy& energy, Chains& chains, std::uint64_t seed,
            const OnStep& on_step) {
  const std::int64_t total = options.flow.steps + options.steps;
  both_stages(options, seed, [&](const Kernel& kernel, std::int64_t offset, std::int64_t steps) {
    OnStep in_all;
    if (on_step) {
      in_all = [&](Position p, const StepInfo& info, const Chains& moved) {
        on_step({offset + p.step, total}, info, moved);
      };
    }
    run(kernel, energy, chains, steps, in_all);
  });
}

void sample(const SamplerOptions& options, const std::vector<energy::EnergyPtr>& energies, Chains& chains,
            std::uint64_t seed, const OnStep& on_step) {
  if (energies.empty()) throw UserError("sample: expected at least one energy");
  if (energies.size() == 1) return sample(options, *energies[0], chains, seed, on_step);
  const std::int64_t total = options.flow.steps + options.steps;
  both_stages(options, seed, [&](const Kernel& kernel, std::int64_t offset, std::int64_t steps) {
    for (std::int64_t k = 0; k < steps; ++k) {
      const auto before_last = static_cast<std::size_t>(total - 1 - (offset + k));
      const auto& energy = energies[energies.size() - 1 - before_last % energies.size()];
      const StepInfo info = kernel.transition(*energy, chains, {k, steps});
      if (on_step) on_step({offset + k, total}, info, chains);
    }
  });
}

}  // namespace igebm::sampling
