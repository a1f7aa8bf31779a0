#include "igebm/sampling/pilot.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "igebm/sampling/schedule.h"

namespace igebm::sampling {
namespace {

constexpr std::int64_t pilot_streams = std::int64_t{1} << 45;  // far from those of samples
constexpr std::int64_t fewest_moves = 10;                      // a level, to learn by

}  // namespace

std::vector<double> learn_step_shares(const SamplerOptions& given, const NoiseRange& range,
                                      const EnergiesAt& energies_at, const std::vector<std::int64_t>& shape,
                                      std::int64_t count, c10::Device device, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  SamplerOptions options = held_steps(within_budget(given, true));
  const KernelEntry& entry = find_kernel(options.kernel);
  if (!entry.compares || options.steps < 1) return {};
  const double aim = options.kernel == "hmc" ? given.hmc.adaptation.acceptance : given.mala.adaptation.acceptance;
  auto chains = start_chains({Start::normal}, shape, count, pilot_streams, {}, seed).to(device);
  chains.x.mul_(range.sigma_max / std::sqrt(range.weight));
  std::vector<double> shares;
  double log_share = std::log(options.annealing.step_share);
  options.annealing.step_shares.clear();
  const std::int64_t moves = std::max(options.steps, fewest_moves);
  for (const NoiseLevel& level : noise_levels(options, range)) {
    const auto energies = energies_at(level.sigma);
    chains.energy.forget();
    double sum = 0;
    for (std::int64_t k = 0; k < moves; ++k) {
      options.langevin = level.mixing;
      options.langevin.step_size = std::exp(log_share) * level.sigma * level.sigma / range.weight;
      const StepInfo info = entry.make(options, seed)->transition(*energies.back(), chains, {k, moves});
      log_share += std::pow(static_cast<double>(k + 1), -0.6) * (info.accepted_share - aim);
      if (2 * k >= moves) sum += log_share;
    }
    log_share = sum / static_cast<double>(moves - (moves + 1) / 2);
    shares.push_back(std::exp(log_share));
    options.langevin.step_size = std::min(shares.back(), exact_share) * level.sigma * level.sigma / range.weight;
    for (std::int64_t k = 0; k < moves / 2; ++k)
      entry.make(options, seed)->transition(*energies.back(), chains, {k, moves});
    if (level.descent_steps > 0) Langevin(level.descent, seed).transition(*energies.back(), chains, {0, 1});
  }
  return shares;
}

}  // namespace igebm::sampling
