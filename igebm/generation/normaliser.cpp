#include "igebm/generation/normaliser.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "igebm/base/random.h"
#include "igebm/sampling/pilot.h"
#include "igebm/sampling/registry.h"
#include "igebm/sampling/schedule.h"

namespace igebm::generation {
namespace {

/// Noise levels apart by this much tell dE / d log sigma.
constexpr double apart = 0.02;
constexpr std::int64_t pilot_chains_of_normaliser = 100;

at::Tensor flat(const at::Tensor& x) { return x.flatten(1).to(at::kDouble); }

at::Tensor energies(const EnergyAt& energy, double sigma, const at::Tensor& x) {
  return energy(sigma)->energy(x).to(at::kDouble);
}

/// dE / d log sigma of each row.
at::Tensor slopes(const EnergyAt& energy, double sigma, const at::Tensor& x) {
  return (energies(energy, sigma * std::exp(apart), x) - energies(energy, sigma * std::exp(-apart), x)) / (2 * apart);
}

struct Mean {
  double value = 0;
  at::Tensor rest;  ///< (M): what is left of each row, of mean 0
};

/// Of `values` (M), less what `controls` (M, K) of mean 0 explain of it.
Mean mean_of(const at::Tensor& values, const at::Tensor& controls) {
  const at::Tensor all = at::cat({at::ones({values.size(0), 1}, values.options()), controls}, 1);
  const at::Tensor fit = at::linalg_pinv(all.t().mm(all)).mm(all.t().mm(values.unsqueeze(1)));
  return {fit[0][0].item<double>(), values - all.mm(fit).squeeze(1)};
}

/// Samples without noise, and what is known of them under noise.
class Records {
 public:
  explicit Records(const at::Tensor& x) : x_(x), rows_(flat(x.cpu())), centred_(rows_ - rows_.mean(0)) {}

  struct Noised {
    at::Tensor y;         ///< like x
    at::Tensor controls;  ///< (M, 2), of mean 0
  };
  Noised noised(double sigma, std::uint64_t seed, std::uint32_t level) const {
    const std::int64_t elements = rows_.size(1);
    at::Tensor noise = at::empty(rows_.sizes(), at::kFloat);
    for (std::int64_t i = 0; i < rows_.size(0); ++i)
      random_normal({seed, Purpose::score_noise, static_cast<std::uint64_t>(i), level},
                    {noise.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
    const at::Tensor n = noise.to(at::kDouble);
    return {x_ + (sigma * noise).reshape(x_.sizes()).to(x_.device()),
            at::stack({n.square().sum(1) - static_cast<double>(elements), (n * centred_).sum(1)}, 1)};
  }

  /// log Z as if the law were a Gaussian of their covariance and sigma^2.
  Mean log_z(const energy::Energy& energy, double sigma, const at::Tensor& y, const at::Tensor& controls) const {
    const auto count = rows_.size(0);
    const at::Tensor variances =
        at::linalg_eigvalsh(centred_.mm(centred_.t()) / static_cast<double>(std::max<std::int64_t>(1, count - 1)));
    const double entropy =
        static_cast<double>(rows_.size(1)) / 2 * std::log(2 * std::numbers::pi * std::numbers::e * sigma * sigma) +
        at::log1p(variances.clamp_min(0) / (sigma * sigma)).sum().item<double>() / 2;
    const Mean e = mean_of(energy.energy(y).to(at::kDouble).cpu(), controls);
    return {entropy - e.value, -e.rest};
  }

 private:
  at::Tensor x_, rows_, centred_;
};

/// Integrates slopes down from the greatest noise, by the trapezoidal rule. Rows are of the same samples, or chains, at
/// all levels, so that what chance did to a row adds up before it is squared.
class Integral {
 public:
  /// log Z at the greatest noise.
  Integral(const Mean& greatest, double sigma) : rest_(greatest.rest) {
    n_.log_sigma.push_back(std::log(sigma));
    n_.log_z.push_back(greatest.value);
  }
  /// The slope of E at the level that was begun with, then those below.
  void add(const Mean& slope, double sigma) {
    if (seen_) {
      const double step = n_.log_sigma.back() - std::log(sigma);
      n_.log_z.push_back(n_.log_z.back() + step * (slope.value + before_.value) / 2);
      n_.log_sigma.push_back(std::log(sigma));
      rest_ = rest_ + step / 2 * (slope.rest + before_.rest);
    }
    seen_ = true, before_ = slope;
  }
  Normaliser take() {
    n_.deviation = std::sqrt(rest_.square().mean().item<double>() / static_cast<double>(rest_.size(0)));
    return std::move(n_);
  }

 private:
  Normaliser n_;
  Mean before_;
  at::Tensor rest_;
  bool seen_ = false;
};

std::vector<double> ladder(const sampling::NoiseRange& range, std::int64_t levels) {
  std::vector<double> sigmas;
  for (std::int64_t k = 0; k < levels; ++k)
    sigmas.push_back(sampling::geometric(range.sigma_max, range.sigma_min, sampling::way({k, levels})));
  return sigmas;
}

}  // namespace

double Normaliser::at(double sigma) const {
  const double s = std::log(sigma);
  if (s >= log_sigma.front()) return log_z.front();
  for (std::size_t i = 1; i < log_sigma.size(); ++i) {
    if (s < log_sigma[i]) continue;
    const double part = (log_sigma[i - 1] - s) / (log_sigma[i - 1] - log_sigma[i]);
    return log_z[i - 1] + part * (log_z[i] - log_z[i - 1]);
  }
  return log_z.back();
}

Normaliser normaliser_of_samples(const EnergyAt& energy, const sampling::NoiseRange& range, const at::Tensor& x,
                                 std::int64_t levels, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const Records records(x);
  std::optional<Integral> integral;
  std::uint32_t level = 0;
  for (const double sigma : ladder(range, levels)) {
    const auto [y, controls] = records.noised(sigma, seed, level++);
    if (!integral) integral.emplace(records.log_z(*energy(sigma), sigma, y, controls), sigma);
    integral->add(mean_of(slopes(energy, sigma, y).cpu(), controls), sigma);
  }
  return integral->take();
}

double log_z_of_gaussian(const energy::Energy& energy, double sigma, const at::Tensor& x, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const Records records(x);
  const auto [y, controls] = records.noised(sigma, seed, 0);
  return records.log_z(energy, sigma, y, controls).value;
}

Normaliser normaliser_of_chains(const EnergyAt& energy, const sampling::NoiseRange& range,
                                const std::vector<std::int64_t>& shape, std::int64_t count, std::int64_t levels,
                                std::int64_t moves, std::uint64_t seed, const Progress& progress) {
  const at::NoGradGuard no_grad;
  auto chains = sampling::start_chains({sampling::Start::normal}, shape, count, 0, {}, seed);
  const double d = static_cast<double>(flat(chains.x).size(1)), deviation = range.sigma_max / std::sqrt(range.weight);
  // log q of what the chains start as, and weights exp(-E) / q.
  const at::Tensor log_q =
      -flat(chains.x).square().sum(1) / 2 - d / 2 * std::log(2 * std::numbers::pi) - d * std::log(deviation);
  chains.x.mul_(deviation);
  const at::Tensor log_weights = -energies(energy, range.sigma_max, chains.x) - log_q;
  const double most = log_weights.max().item<double>();
  const at::Tensor weights = (log_weights - most).exp();
  const double mean = weights.mean().item<double>();
  Integral integral({most + std::log(mean), weights / mean - 1}, range.sigma_max);
  sampling::SamplerOptions options{.steps = moves, .kernel = "mala"};
  options.annealing = {.levels = levels, .step_share = sampling::exact_share};
  options.annealing.step_shares = sampling::learn_step_shares(
      options, range, [&](double sigma) { return std::vector{energy(sigma)}; }, shape, pilot_chains_of_normaliser,
      at::kCPU, seed);
  options = sampling::held_steps(options);
  std::int64_t done = 0;
  for (const auto& level : sampling::noise_levels(options, range)) {
    const energy::EnergyPtr now = energy(level.sigma);
    if (progress) progress(++done, levels);
    for (const auto& [langevin, steps] :
         {std::pair{level.mixing, level.mixing_steps}, {level.fine, level.fine_steps}}) {
      options.langevin = langevin;
      sampling::run(*sampling::find_kernel("mala").make(options, seed), *now, chains, steps);
    }
    const auto [e, g] = now->energy_and_gradient(chains.x);
    // Stein's identity: (x - m) dE/dx has the mean d, whatever m.
    const at::Tensor x = flat(chains.x), control = d - ((x - x.mean(0)) * flat(g)).sum(1);
    integral.add(mean_of(slopes(energy, level.sigma, chains.x), control.unsqueeze(1)), level.sigma);
    if (level.descent_steps > 0 && level.sigma > range.sigma_min)
      sampling::run(sampling::Langevin(level.descent, seed), *now, chains, 1);
  }
  return integral.take();
}

}  // namespace igebm::generation
