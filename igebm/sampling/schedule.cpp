#include "igebm/sampling/schedule.h"

#include <algorithm>
#include <cmath>

namespace igebm::sampling {

double way(Position position) {
  return position.total > 1 ? static_cast<double>(position.step) / static_cast<double>(position.total - 1) : 1;
}

double geometric(double from, double to, double t) { return from * std::pow(to / from, t); }

double temperature(const LangevinOptions& o, Position position) {
  // A geometric path cannot reach zero; go there in a straight line.
  if (o.temperature_start <= 0 || o.temperature_end <= 0 || position.total < 2)
    return o.temperature_start + way(position) * (o.temperature_end - o.temperature_start);
  return geometric(o.temperature_start, o.temperature_end, way(position));
}

double noise_of(const LangevinOptions& o, Position position) {
  return (o.noise < 0 ? std::sqrt(2 * o.step_size) : o.noise) * std::sqrt(temperature(o, position));
}

double target_temperature(const LangevinOptions& o, Position position) {
  const double sigma = noise_of(o, position);
  return sigma * sigma / (2 * o.step_size);
}

std::vector<NoiseLevel> noise_levels(const SamplerOptions& options, const NoiseRange& range) {
  const double sigma_min = range.sigma_min, sigma_max = range.sigma_max, weight = range.weight;
  const AnnealingOptions& a = options.annealing;
  const double temperature = options.langevin.temperature_end;
  const auto sigma_of = [&](std::int64_t level) {
    const double t = way({level, a.levels});
    if (a.rho <= 0) return geometric(sigma_max, sigma_min, t);
    const double high = std::pow(sigma_max, 1 / a.rho), low = std::pow(sigma_min, 1 / a.rho);
    return std::pow(high + t * (low - high), a.rho);
  };
  std::vector<NoiseLevel> levels;
  for (std::int64_t level = 0; level < a.levels; ++level) {
    const double sigma = sigma_of(level);
    const double share = a.step_shares.empty() ? a.step_share : a.step_shares.at(static_cast<std::size_t>(level));
    const bool last = level + 1 == a.levels;
    const double next = last ? 0 : sigma_of(level + 1);  // the last step denoised is the predictor's to a noise of 0
    const double up = a.ancestral * next * std::sqrt(std::max(0.0, 1 - next * next / (sigma * sigma)));
    const double down = std::sqrt(next * next - up * up);
    const auto mixing = [&](double of_square) {
      return LangevinOptions{.step_size = of_square * sigma * sigma / weight,
                             .noise = -1,
                             .temperature_start = temperature,
                             .temperature_end = temperature};
    };
    const std::int64_t fine_steps = a.step_shares.empty() ? 0 : options.steps / 2;
    levels.push_back({.sigma = sigma,
                      .next = next,
                      .mixing = mixing(share),
                      .fine = mixing(std::min(share, exact_share)),
                      .descent = {.step_size = (sigma - down) * sigma / weight,
                                  .noise = up / std::sqrt(weight),
                                  .temperature_start = temperature,
                                  .temperature_end = temperature},
                      .mixing_steps = options.steps - fine_steps,
                      .fine_steps = fine_steps,
                      .descent_steps = (last ? a.denoise : a.predictor) ? 1 : 0});
  }
  return levels;
}

}  // namespace igebm::sampling
