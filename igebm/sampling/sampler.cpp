#include "igebm/sampling/sampler.h"

namespace igebm::sampling {

void sample(const SamplerOptions& options, const energy::Energy& energy, Chains& chains, std::uint64_t seed,
            const OnStep& on_step) {
  const std::int64_t total = options.flow.steps + options.steps;
  const auto stage = [&](std::int64_t offset) -> OnStep {
    if (!on_step) return {};
    return [&, offset](Position p, const StepInfo& info, const Chains& moved) {
      on_step({offset + p.step, total}, info, moved);
    };
  };
  if (options.flow.steps > 0) run(Flow(options.flow), energy, chains, options.flow.steps, stage(0));
  if (options.steps == 0) return;
  LangevinOptions langevin = options.langevin;
  if (options.time > 0) langevin.step_size = options.time / static_cast<double>(options.steps);
  run(Langevin(langevin, seed), energy, chains, options.steps, stage(options.flow.steps));
}

}  // namespace igebm::sampling
