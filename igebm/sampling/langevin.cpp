#include "igebm/sampling/langevin.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::sampling {
namespace {

double temperature(const LangevinOptions& o, Position p) {
  if (o.temperature_start <= 0 || o.temperature_end <= 0 || p.total < 2) {
    // A geometric path cannot reach zero; go there in a straight line.
    const double t = p.total < 2 ? 1 : static_cast<double>(p.step) / static_cast<double>(p.total - 1);
    return o.temperature_start + t * (o.temperature_end - o.temperature_start);
  }
  const double t = static_cast<double>(p.step) / static_cast<double>(p.total - 1);
  return o.temperature_start * std::pow(o.temperature_end / o.temperature_start, t);
}

struct Sums {
  double square = 0;
  std::int64_t clipped = 0, non_finite = 0;
};

}  // namespace

Langevin::Langevin(const LangevinOptions& options, std::uint64_t seed) : options_(options), seed_(seed) {
  const auto require = [](bool ok, const char* what, double value) {
    if (!ok) throw UserError(fmt::format("langevin: {}, got {}", what, value));
  };
  require(options.step_size > 0 && std::isfinite(options.step_size), "step_size must be a finite number above 0",
          options.step_size);
  require(std::isfinite(options.noise), "noise must be finite", options.noise);
  require(options.gradient_clip > 0, "gradient_clip must be above 0", options.gradient_clip);
  require(options.low < options.high, "low must be below high", options.low);
  require(options.temperature_start >= 0 && std::isfinite(options.temperature_start),
          "temperature_start must be at least 0", options.temperature_start);
  require(options.temperature_end >= 0 && std::isfinite(options.temperature_end), "temperature_end must be at least 0",
          options.temperature_end);
  if (options_.noise < 0) options_.noise = std::sqrt(2 * options_.step_size);
}

StepInfo Langevin::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  const std::int64_t count = chains.size();
  const std::int64_t elements = count > 0 ? chains.x.numel() / count : 0;
  chains.x = chains.x.contiguous();
  const auto sigma = static_cast<float>(options_.noise * std::sqrt(temperature(options_, position)));
  const std::int64_t* stream = chains.stream.const_data_ptr<std::int64_t>();
  std::int64_t* steps = chains.steps.data_ptr<std::int64_t>();
  float* x = chains.x.data_ptr<float>();
  const std::int64_t grain = std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(elements, 1));

  const auto noise = [&](std::int64_t chain, std::span<float> out) {
    random_normal({seed_, Purpose::langevin_noise, static_cast<std::uint64_t>(stream[chain]),
                   static_cast<std::uint32_t>(steps[chain])},
                  out);
  };
  if (options_.noise_first && sigma > 0) {
    at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> n(static_cast<std::size_t>(elements));
      for (std::int64_t c = begin; c < end; ++c) {
        noise(c, n);
        for (std::int64_t i = 0; i < elements; ++i) x[c * elements + i] += sigma * n[static_cast<std::size_t>(i)];
      }
    });
  }

  const auto [e, gradient] = energy.energy_and_gradient(chains.x);
  const at::Tensor energies = e.to(at::kFloat).contiguous(), g = gradient.to(at::kFloat).contiguous();
  const float* pe = energies.const_data_ptr<float>();
  const float* pg = g.const_data_ptr<float>();
  const auto step = static_cast<float>(options_.step_size), clip = static_cast<float>(options_.gradient_clip);
  const auto low = static_cast<float>(options_.low), high = static_cast<float>(options_.high);
  const bool noise_here = !options_.noise_first && sigma > 0;
  std::vector<Sums> sums(static_cast<std::size_t>(count));

  at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> n(static_cast<std::size_t>(elements), 0.0F);
    for (std::int64_t c = begin; c < end; ++c) {
      const float* gc = pg + c * elements;
      float* xc = x + c * elements;
      Sums& sum = sums[static_cast<std::size_t>(c)];
      float square = 0;
      std::int64_t clipped = 0;
      for (std::int64_t i = 0; i < elements; ++i) {
        square += gc[i] * gc[i];
        clipped += std::fabs(gc[i]) > clip ? 1 : 0;
      }
      sum = {square, clipped, 0};
      if (std::isfinite(pe[c]) && std::isfinite(square)) {
        if (noise_here) noise(c, n);
        for (std::int64_t i = 0; i < elements; ++i) {
          const float bounded = std::min(std::max(gc[i], -clip), clip);
          const float moved = xc[i] - step * bounded + sigma * n[static_cast<std::size_t>(i)];
          xc[i] = std::min(std::max(moved, low), high);
        }
      } else {
        sum = {0, 0, 1};
      }
      ++steps[c];
    }
  });

  // Summed in the chains' order, so that the figures do not depend on the number of threads.
  StepInfo info;
  double energy_sum = 0, square_sum = 0;
  std::int64_t clipped = 0;
  for (std::int64_t c = 0; c < count; ++c) {
    const Sums& sum = sums[static_cast<std::size_t>(c)];
    info.non_finite += sum.non_finite;
    if (sum.non_finite == 0) energy_sum += pe[c];
    square_sum += sum.square;
    clipped += sum.clipped;
  }
  const auto good = static_cast<double>(std::max<std::int64_t>(count - info.non_finite, 1));
  info.energy = energy_sum / good;
  info.gradient_norm = std::sqrt(square_sum / good);
  info.clipped_share = static_cast<double>(clipped) / std::max(1.0, good * static_cast<double>(elements));
  return info;
}

}  // namespace igebm::sampling
