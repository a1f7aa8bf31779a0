#include "igebm/scoring/annealed_importance.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/metropolis.h"
#include "igebm/sampling/schedule.h"

namespace igebm::scoring {
namespace {

// Streams of random numbers, far from each other's.
constexpr std::int64_t pilot_stream = std::int64_t{1} << 46;
constexpr std::int64_t backward_stream = std::int64_t{1} << 47;
// Where noise is most of the law it is nearly N(0, I), whose every trajectory of length pi keeps its energy: they must
// differ.
constexpr double wide_jitter = 0.5;
constexpr std::int64_t pilot_moves = 8;  // a level
constexpr double first_share = 0.04;     // of t, from N(0, I) to the greatest noise
constexpr double spare_share = 0.1;      // of levels that are evenly spaced in t

double elements_of(const std::vector<std::int64_t>& shape) {
  double elements = 1;
  for (const std::int64_t size : shape) elements *= static_cast<double>(size);
  return elements;
}

std::function<at::Tensor(std::int64_t, std::uint64_t)> normal(const std::vector<std::int64_t>& shape,
                                                              double deviation) {
  return [shape, deviation](std::int64_t count, std::uint64_t seed) {
    return sampling::start_chains({sampling::Start::normal}, shape, count, 0, {}, seed).x.mul_(deviation);
  };
}

double log_z_of_normal(double elements, double deviation) {
  return elements * (std::log(2 * std::numbers::pi) / 2 + std::log(deviation));
}

/// Chains that know their energy where they are, at one level at a time.
class Walkers {
 public:
  Walkers(const AnnealedPath& path, const AnnealedOptions& options, const at::Tensor& x, std::int64_t first_stream)
      : options_(options),
        chains_{.x = x.to(at::kFloat).contiguous().to(path.device),
                .labels = {},
                .stream = at::arange(first_stream, first_stream + x.size(0), at::kLong).to(path.device),
                .steps = at::zeros({x.size(0)}, at::kLong).to(path.device)} {}

  /// The energy of another level, where the chains are: (N) double.
  at::Tensor at_level(energy::EnergyPtr energy) {
    energy_ = std::move(energy);
    chains_.energy.forget();
    // Copies, as the energy may write where it wrote.
    const auto [e, g] = energy_->energy_and_gradient(chains_.x);
    chains_.energy.keep(*energy_, chains_.x, chains_.labels, {e.clone(), g.clone()});
    ++gradients_;
    return known();
  }

  /// By HMC; what is the chance that a proposal is taken?
  double move(double log_step) {
    const sampling::LangevinOptions step{.step_size = std::exp(log_step), .noise = -1};
    sampling::HmcOptions hmc{.leapfrog_steps = options_.leapfrog, .jitter = wide_jitter};
    hmc.adaptation.share = 0;
    const auto info = sampling::Metropolis(step, hmc, options_.seed).transition(*energy_, chains_, {0, 1});
    gradients_ += options_.leapfrog;
    return info.accepted_share;
  }

  /// E where the chains are, at the level that they are at.
  at::Tensor known() const {
    return chains_.energy.find(*energy_, chains_.x, chains_.labels)->energy.to(at::kDouble).cpu();
  }
  const at::Tensor& x() const { return chains_.x; }
  std::int64_t gradients() const { return gradients_; }

 private:
  const AnnealedOptions& options_;
  sampling::Chains chains_;
  energy::EnergyPtr energy_;
  std::int64_t gradients_ = 0;
};

void require_numbers(const at::Tensor& energies, double t) {
  if (energies.isnan().any().item<bool>())
    throw UserError(fmt::format("annealed importance sampling: an energy that is not a number, at t = {:.4g}", t));
}

double log_mean_exp(const at::Tensor& values) {
  return at::logsumexp(values, 0).item<double>() - std::log(static_cast<double>(values.size(0)));
}

/// sign log mean exp(sign w), with the quantiles of its bootstrap.
Interval log_mean(const at::Tensor& weights, double sign, const AnnealedOptions& options) {
  const auto of = [&](const at::Tensor& w) { return sign * log_mean_exp(sign * w); };
  const auto count = static_cast<std::uint64_t>(weights.size(0));
  std::vector<double> draws;
  std::vector<std::uint32_t> words(count);
  for (std::int64_t i = 0; i < options.draws; ++i) {
    random_bits({options.seed, Purpose::evaluation, static_cast<std::uint64_t>(i), 3}, words);
    std::vector<std::int64_t> rows;
    for (const std::uint32_t word : words) rows.push_back(static_cast<std::int64_t>((word * count) >> 32U));
    draws.push_back(of(weights.index_select(0, at::tensor(rows, at::kLong))));
  }
  return quantiles(of(weights), std::move(draws));
}

AnnealedEstimate estimate_of(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& x, double sign,
                             double accepted, std::int64_t gradients, const AnnealedOptions& options) {
  AnnealedEstimate out{.log_weights = at::cat(weights), .gradients = gradients, .x = at::cat(x)};
  out.log_z = log_mean(out.log_weights, sign, options);
  const at::Tensor share = at::softmax(sign * out.log_weights, 0);
  out.effective = 1 / share.square().sum().item<double>();
  out.accepted = accepted / static_cast<double>(out.log_weights.size(0));
  return out;
}

void check_options(const AnnealedOptions& o) {
  if (o.levels < 1 || o.leapfrog < 1 || o.chains < 2 || o.batch < 1 || o.pilot_chains < 2 || o.pilot_levels < 1)
    throw UserError(
        "annealed importance sampling: expected at least 1 level, leapfrog step and pilot level, and 2 chains");
}

}  // namespace

AnnealedPath geometric_path(energy::EnergyPtr target, const std::vector<std::int64_t>& shape, double deviation,
                            c10::Device device) {
  const double precision = 1 / (deviation * deviation);
  return {
      .shape = shape,
      .energy = [target = std::move(target), precision](
                    double t) { return energy::beside_gaussian(energy::rescaled(target, 1, t), (1 - t) * precision); },
      .log_z = log_z_of_normal(elements_of(shape), deviation),
      .base = normal(shape, deviation),
      .device = device};
}

AnnealedPath noise_path(const EnergyAt& energy, const model::NoiseScale& scale, double sigma,
                        const std::vector<std::int64_t>& shape, c10::Device device) {
  const double elements = elements_of(shape);
  const auto scaled = [energy, scale, elements](double level, double share) {
    const double c = model::noise_factor(scale, level);
    const energy::EnergyPtr part = energy::rescaled(energy(level), 1 / c, share);
    return energy::beside_gaussian(part, 1 - share, share * elements * std::log(c));
  };
  return {.shape = shape,
          .energy =
              [scaled, greatest = scale.sigma_max, sigma](double t) {
                if (t < first_share) return scaled(greatest, t / first_share);
                return scaled(sampling::geometric(greatest, sigma, (t - first_share) / (1 - first_share)), 1);
              },
          .log_z = log_z_of_normal(elements, 1),
          .base = normal(shape, 1),
          .unit = model::noise_factor(scale, sigma),
          .device = device};
}

AnnealedSchedule learn_schedule(const AnnealedPath& path, const AnnealedOptions& options, const Progress& progress) {
  check_options(options);
  const at::NoGradGuard no_grad;
  const double aim = options.leapfrog > 1 ? sampling::HmcOptions{}.adaptation.acceptance
                                          : sampling::MalaOptions{}.adaptation.acceptance;
  const at::Tensor start = path.base(options.pilot_chains, options.seed + 1);
  Walkers walkers(path, options, start, pilot_stream);
  const std::int64_t levels = std::min(options.levels, options.pilot_levels);
  // Of a normal law's deviation, in that many dimensions.
  double log_step = std::log(start.var().item<double>() / (2 * std::sqrt(elements_of(path.shape))));
  at::Tensor before = walkers.at_level(path.energy(0));
  std::vector<double> steps = {log_step}, change = {0};  // change: sums of deviations of the energy's changes
  for (std::int64_t k = 1; k <= levels; ++k) {
    const double t = static_cast<double>(k) / static_cast<double>(levels);
    const at::Tensor here = walkers.at_level(path.energy(t));
    require_numbers(here, t);
    change.push_back(change.back() + (here - before).std().item<double>());
    double sum = 0;
    for (std::int64_t i = 1; i <= pilot_moves; ++i) {
      log_step += std::pow(static_cast<double>(i), -0.6) * (walkers.move(log_step) - aim);
      if (2 * i > pilot_moves) sum += log_step;
    }
    steps.push_back(log_step = sum / static_cast<double>(pilot_moves / 2));
    before = walkers.known();
    if (progress) progress(k, levels);
  }
  steps[0] = steps[1];
  AnnealedSchedule schedule;
  const double whole = change.back() > 0 && std::isfinite(change.back()) ? change.back() : 0;
  std::size_t j = 1;
  for (std::int64_t k = 0; k <= options.levels; ++k) {
    // Where a share of the way, in deviations with some of t, is gone.
    const double share = static_cast<double>(k) / static_cast<double>(options.levels);
    const auto way = [&](std::size_t i) {
      const double even = static_cast<double>(i) / static_cast<double>(levels);
      return whole > 0 ? (1 - spare_share) * change[i] / whole + spare_share * even : even;
    };
    while (j + 1 < change.size() && way(j) < share) ++j;
    const double part = std::clamp((share - way(j - 1)) / (way(j) - way(j - 1)), 0.0, 1.0);
    schedule.t.push_back((static_cast<double>(j - 1) + part) / static_cast<double>(levels));
    schedule.log_step.push_back(steps[j - 1] + part * (steps[j] - steps[j - 1]));
  }
  schedule.t.back() = 1;
  return schedule;
}

AnnealedEstimate annealed_forwards(const AnnealedPath& path, const AnnealedSchedule& schedule,
                                   const AnnealedOptions& options, const Progress& progress) {
  check_options(options);
  const at::NoGradGuard no_grad;
  const at::Tensor start = path.base(options.chains, options.seed);
  const auto levels = static_cast<std::int64_t>(schedule.t.size()) - 1;
  std::vector<at::Tensor> weights, ends;
  double accepted = 0;
  std::int64_t gradients = 0;
  for (std::int64_t begin = 0; begin < options.chains; begin += options.batch) {
    const at::Tensor x = start.slice(0, begin, std::min(begin + options.batch, options.chains));
    Walkers walkers(path, options, x, begin);
    at::Tensor sum = walkers.at_level(path.energy(0)) + path.log_z;
    for (std::int64_t k = 1; k <= levels; ++k) {
      const auto place = static_cast<std::size_t>(k);
      sum -= walkers.at_level(path.energy(schedule.t[place]));
      require_numbers(sum, schedule.t[place]);
      accepted += walkers.move(schedule.log_step[place]) * static_cast<double>(x.size(0)) / static_cast<double>(levels);
      if (k < levels) sum += walkers.known();
      if (progress)
        progress(begin / options.batch * levels + k, (options.chains + options.batch - 1) / options.batch * levels);
    }
    weights.push_back(sum), ends.push_back(walkers.x().cpu() / path.unit);
    gradients = walkers.gradients();
  }
  return estimate_of(weights, ends, 1, accepted, gradients, options);
}

AnnealedEstimate annealed_backwards(const AnnealedPath& path, const AnnealedSchedule& schedule, const at::Tensor& x,
                                    const AnnealedOptions& options, const Progress& progress) {
  check_options(options);
  const at::NoGradGuard no_grad;
  const auto levels = static_cast<std::int64_t>(schedule.t.size()) - 1;
  const std::int64_t count = x.size(0), parts = (count + options.batch - 1) / options.batch;
  std::vector<at::Tensor> weights, ends;
  double accepted = 0;
  std::int64_t gradients = 0;
  for (std::int64_t begin = 0; begin < count; begin += options.batch) {
    const at::Tensor part = x.slice(0, begin, std::min(begin + options.batch, count));
    Walkers walkers(path, options, part * path.unit, backward_stream + begin);
    at::Tensor sum = at::full({part.size(0)}, path.log_z, at::kDouble);
    walkers.at_level(path.energy(1));
    for (std::int64_t k = levels; k > 0; --k) {
      const auto place = static_cast<std::size_t>(k);
      accepted +=
          walkers.move(schedule.log_step[place]) * static_cast<double>(part.size(0)) / static_cast<double>(levels);
      sum -= walkers.known();
      sum += walkers.at_level(path.energy(schedule.t[place - 1]));
      require_numbers(sum, schedule.t[place - 1]);
      if (progress) progress(begin / options.batch * levels + levels - k + 1, parts * levels);
    }
    weights.push_back(sum), ends.push_back(walkers.x().cpu());
    gradients = walkers.gradients();
  }
  return estimate_of(weights, ends, -1, accepted, gradients, options);
}

}  // namespace igebm::scoring
