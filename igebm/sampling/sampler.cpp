#include "igebm/sampling/sampler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/sampling/averaged.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/predictor.h"
#include "igebm/sampling/registry.h"
#include "igebm/sampling/schedule.h"

namespace igebm::sampling {
namespace {

/// `steps` steps of one kernel.
struct Stage {
  std::unique_ptr<Kernel> kernel;
  std::int64_t steps = 0;
};

std::vector<Stage> stages_of(const SamplerOptions& given, std::uint64_t seed) {
  const SamplerOptions options = within_budget(given, false);
  if (const std::string problem = time_problem(options); !problem.empty()) throw UserError("sampling.time: " + problem);
  std::vector<Stage> stages;
  if (options.flow.steps > 0) stages.push_back({std::make_unique<Flow>(options.flow), options.flow.steps});
  SamplerOptions timed = options;
  if (options.time > 0) timed.langevin.step_size = options.time / static_cast<double>(options.steps);
  const KernelEntry& entry = find_kernel(options.kernel);
  if (options.steps > 0) stages.push_back({entry.make(timed, seed), options.steps});
  return stages;
}

/// One stage of a run of `total` steps, from step `offset` on. Of several energies the last takes the run's last step.
void move(const Stage& stage, const std::vector<energy::EnergyPtr>& energies, Chains& chains, std::int64_t offset,
          std::int64_t total, const OnStep& on_step) {
  OnStep in_all;
  if (on_step) {
    in_all = [&](Position p, const StepInfo& info, const Chains& moved) {
      on_step({offset + p.step, total}, info, moved);
    };
  }
  if (energies.size() == 1) {
    run(*stage.kernel, *energies[0], chains, stage.steps, in_all);
    return;
  }
  chains.energy.forget();  // an energy's weights may have changed since
  for (std::int64_t k = 0; k < stage.steps; ++k) {
    const auto before_last = static_cast<std::size_t>(total - 1 - (offset + k));
    const auto& energy = energies[energies.size() - 1 - before_last % energies.size()];
    const StepInfo info = stage.kernel->transition(*energy, chains, {k, stage.steps});
    if (in_all) in_all({k, stage.steps}, info, chains);
  }
}

}  // namespace

std::int64_t step_count(const SamplerOptions& given, bool annealed) {
  const SamplerOptions options = within_budget(given, annealed);
  if (!annealed) return options.flow.steps + options.steps;
  const AnnealingOptions& a = options.annealing;
  return a.levels * options.steps + (a.predictor ? a.levels - 1 : 0) + (a.denoise ? 1 : 0);
}

std::string describe_steps(const SamplerOptions& given, bool annealed) {
  const SamplerOptions options = within_budget(given, annealed);
  if (!annealed) {
    return fmt::format("{} flow and {} {} steps", options.flow.steps, options.steps, find_kernel(options.kernel).steps);
  }
  const std::int64_t levels = options.annealing.levels;
  const std::string guided =
      options.annealing.guidance == 1 ? "" : fmt::format(", guidance {:g}", options.annealing.guidance);
  if (options.steps == 0) return fmt::format("{} noise levels{}", levels, guided);
  return fmt::format("{} {} step{} at each of {} noise levels{}", options.steps, find_kernel(options.kernel).steps,
                     options.steps == 1 ? "" : "s", levels, guided);
}

std::string time_problem(const SamplerOptions& options) {
  if (options.time <= 0 || options.langevin.noise <= 0) return {};
  return fmt::format(
      "with as much noise in every step, more steps would go further; expected noise = -1 beside it, the noise that "
      "belongs to a step, or 0, got {}",
      options.langevin.noise);
}

void sample(const SamplerOptions& options, const energy::Energy& energy, Chains& chains, std::uint64_t seed,
            const OnStep& on_step) {
  // Not owned.
  sample(options, std::vector<energy::EnergyPtr>{energy::EnergyPtr(energy::EnergyPtr(), &energy)}, chains, seed,
         on_step);
}

void sample(const SamplerOptions& options, const std::vector<energy::EnergyPtr>& energies, Chains& chains,
            std::uint64_t seed, const OnStep& on_step) {
  if (energies.empty()) throw UserError("sample: expected at least one energy");
  std::int64_t done = 0;
  for (const Stage& stage : stages_of(options, seed)) {
    move(stage, energies, chains, done, step_count(options, false), on_step);
    done += stage.steps;
  }
}

void start_at_moments(const energy::Energy& energy, const NoiseRange& range, Chains& chains) {
  const at::NoGradGuard no_grad;
  const double sigma = range.sigma_max;
  const auto denoised = [&](const at::Tensor& y) {
    return y - sigma * sigma / range.weight * energy.energy_and_gradient(y).gradient;
  };
  chains.x.mul_(sigma / std::sqrt(range.weight));
  chains.x.add_(denoised(at::zeros_like(chains.x)) + denoised(chains.x), 0.5);
  chains.energy.forget();
}

SamplerOptions held_steps(SamplerOptions options) {
  options.mala.adaptation.share = options.hmc.adaptation.share = 0;
  return options;
}

void start_from_noise(const SamplerOptions& options, const NoiseRange& range, double deviation,
                      const EnergiesAt& energies_at, Chains& chains) {
  if (within_budget(options, true).annealing.moments) {
    start_at_moments(*energies_at(range.sigma_max).back(), range, chains);
  } else {
    chains.x.mul_(deviation);
  }
}

void add_noise(Chains& chains, const at::Tensor& sigma, std::uint64_t seed) {
  chains.x = chains.held(chains.x + sigma * normals_of(chains, seed, Purpose::langevin_noise));
  chains.steps.add_(1);
  chains.energy.forget();
}

SamplerOptions more_steps(SamplerOptions o) {
  if (o.steps < 1)
    throw UserError("sampling.steps: expected steps of a kernel to go on with, and there is a flow alone");
  if (o.time > 0) o.langevin.step_size = o.time / static_cast<double>(o.steps);
  o.time = 0, o.flow.steps = 0;
  o.langevin.temperature_start = o.langevin.temperature_end;
  return o;
}

void sample_from_noise(const SamplerOptions& options, const NoiseRange& range, double deviation,
                       const EnergiesAt& energies_at, Chains& chains, std::uint64_t seed, const OnStep& on_step,
                       const LevelHooks& hooks) {
  start_from_noise(options, range, deviation, energies_at, chains);
  sample_annealed(options, range, energies_at, chains, seed, on_step, hooks);
}

void sample_annealed(const SamplerOptions& given, const NoiseRange& range, const EnergiesAt& energies_at,
                     Chains& chains, std::uint64_t seed, const OnStep& on_step, const LevelHooks& hooks) {
  const SamplerOptions options = within_budget(given, true);
  const AnnealingOptions& a = options.annealing;
  if (!(range.sigma_min > 0 && range.sigma_max >= range.sigma_min) || a.levels < 1)
    throw UserError("sample: expected 0 < sigma_min <= sigma_max and at least one noise level");
  if (!(range.weight > 0)) throw UserError(fmt::format("sample: expected a weight above 0, got {}", range.weight));
  const KernelEntry& entry = find_kernel(options.kernel);
  const std::int64_t total = step_count(options, true);
  std::int64_t done = 0;
  const auto take = [&](std::unique_ptr<Kernel> kernel, std::int64_t steps,
                        const std::vector<energy::EnergyPtr>& energies) {
    move({std::move(kernel), steps}, energies, chains, done, total, on_step);
    done += steps;
  };
  SamplerOptions mixing = held_steps(options);
  Predictor predictor(a.order, range.weight);
  for (const NoiseLevel& level : noise_levels(options, range)) {
    const auto energies = energies_at(level.sigma);
    if (hooks.before) hooks.before(level, chains);
    for (const auto& [langevin, steps] :
         {std::pair{level.mixing, level.mixing_steps}, {level.fine, level.fine_steps}}) {
      mixing.langevin = langevin;
      if (steps < 1) continue;
      const bool averaged = a.averaged && options.kernel == "langevin";
      take(averaged ? std::make_unique<AveragedLangevin>(langevin.step_size, seed, langevin.temperature_end)
                    : entry.make(mixing, seed),
           steps, energies);
    }
    if (level.descent_steps > 0)
      take(std::make_unique<Langevin>(level.descent, seed), level.descent_steps,
           predictor.at(level, hooks.descent ? hooks.descent(level.sigma) : energies));
  }
}

}  // namespace igebm::sampling
