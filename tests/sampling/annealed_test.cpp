#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/sampler.h"

namespace igebm::sampling {
namespace {

/// Data N(1, 0.25) in one dimension, under noise: N(1, 0.25 + sigma^2).
std::vector<energy::EnergyPtr> noisy(double sigma) {
  return {std::make_shared<energy::Gaussian>(at::ones({1}), (0.25 + sigma * sigma) * at::eye(1))};
}

Chains at_noise(std::int64_t count, double sigma) {
  Chains chains = start_chains({Start::normal}, {1}, count, 0, {}, 5);
  chains.x.mul_(sigma);
  return chains;
}

// Step by step: Langevin at each level in a geometric progression, and the last step without noise.
TEST(Annealed, StepsAtEachLevelThenDenoises) {
  SamplerOptions options{.steps = 3, .langevin = {.temperature_end = 0.3}};
  options.annealing = {.levels = 4, .step_share = 0.05, .predictor = false};
  Chains chains = at_noise(8, 8), by_hand = at_noise(8, 8);
  std::int64_t calls = 0;
  std::vector<double> sigmas;
  sample_annealed(
      options, {1, 8},
      [&](double sigma) {
        sigmas.push_back(sigma);
        return noisy(sigma);
      },
      chains, 9,
      [&](Position p, const StepInfo&, const Chains&) {
        EXPECT_EQ(p.step, calls++);
        EXPECT_EQ(p.total, 13);
      });
  EXPECT_EQ(calls, step_count(options, true));
  ASSERT_EQ(sigmas.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(sigmas[i], std::vector<double>({8, 4, 2, 1})[i], 1e-12);
  for (std::size_t i = 0; i < 4; ++i) {
    const double step = 0.05 * sigmas[i] * sigmas[i];
    const Langevin langevin({.step_size = step, .noise = std::sqrt(2 * step * 0.3)}, 9);
    run(langevin, *noisy(sigmas[i])[0], by_hand, 3);
  }
  by_hand.x = by_hand.x - (by_hand.x - 1) / 1.25;
  EXPECT_TRUE(at::allclose(chains.x, by_hand.x, 1e-5, 1e-6));
}

// Nearly N(1, 0.25 + 16): of mean 1 - 0.25 / 16.25, and its deviation, 4.0311, to the first order in 0.25 / 16.
TEST(Annealed, StartsAtTheMomentsThatTheDenoiserTells) {
  Chains chains = at_noise(8, 1);
  const double a = 0.25 / (0.25 + 16);
  const at::Tensor want = 4 * chains.x * (1 + a / 2) + (1 - a);
  start_at_moments(*noisy(4)[0], {.sigma_max = 4}, chains);
  EXPECT_TRUE(at::allclose(chains.x, want, 1e-5, 1e-5));
  EXPECT_NEAR(4 * (1 + a / 2), std::sqrt(16.25), 1e-3);
}

// Karras et al. 2022, equation 5.
TEST(Annealed, LevelsAreEvenInARootOfSigma) {
  SamplerOptions options{.steps = 0};
  std::vector<double> sigmas;
  const auto levels = [&](double rho) {
    sigmas.clear();
    options.annealing = {.levels = 5, .rho = rho, .predictor = false, .denoise = false};
    Chains chains = at_noise(2, 16);
    sample_annealed(
        options, {1, 16}, [&](double s) { return sigmas.push_back(s), noisy(s); }, chains, 9);
    return sigmas;
  };
  const std::vector<double> squares = levels(2);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(squares[i], std::pow(4 - 0.75 * static_cast<double>(i), 2), 1e-9);
  const std::vector<double> nearly = levels(1e6), geometric = levels(0);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(nearly[i], geometric[i], 1e-3);
}

// Gaussians stay Gaussians: each step takes the mean's distance times 1 - h / V, and the variance to (1 - h / V)^2 v +
// 2 h T with V = 0.25 + sigma^2. 8,000 chains: standard errors of sqrt(v / 8000), and 1.6 % of the variance.
TEST(Annealed, HasTheMomentsOfItsStepsAndNearlyTheDatas) {
  for (const double temperature : {1.0, 0.25}) {
    SamplerOptions options{.steps = 30, .langevin = {.temperature_end = temperature}};
    options.annealing = {.levels = 30, .step_share = 0.1, .predictor = false};
    Chains chains = at_noise(8000, 10);
    double mean = 0, variance = 100;
    sample_annealed(options, {0.05, 10}, noisy, chains, 3);
    for (int level = 0; level < 30; ++level) {
      const double sigma = 10 * std::pow(0.05 / 10, level / 29.0), step = 0.1 * sigma * sigma,
                   keep = 1 - step / (0.25 + sigma * sigma);
      for (int k = 0; k < 30; ++k) {
        mean = 1 + keep * (mean - 1);
        variance = keep * keep * variance + 2 * step * temperature;
      }
    }
    const double keep = 1 - 0.0025 / 0.2525;
    mean = 1 + keep * (mean - 1);
    variance *= keep * keep;
    EXPECT_NEAR(chains.x.mean().item<double>(), mean, 4 * std::sqrt(variance / 8000));
    EXPECT_NEAR(chains.x.var().item<double>(), variance, 0.065 * variance);
    EXPECT_NEAR(mean, 1, 1e-3);
    EXPECT_NEAR(variance, 0.25 * temperature, temperature == 1 ? 0.02 : 0.1);
  }
}

// The predictor alone follows the flow: a factor of 1 - (sigma - next) sigma / V a level, in the end V's square root up
// to Euler's error.
TEST(Annealed, ThePredictorFollowsTheFlow) {
  SamplerOptions options{.steps = 0};
  options.annealing.levels = 200;
  Chains chains = at_noise(6, 10);
  const at::Tensor before = chains.x.clone();
  double factor = 1;
  for (int level = 0; level < 200; ++level) {
    const auto sigma = [](int l) { return l < 200 ? 10 * std::pow(0.05 / 10, l / 199.0) : 0; };
    factor *= 1 - (sigma(level) - sigma(level + 1)) * sigma(level) / (0.25 + sigma(level) * sigma(level));
  }
  std::int64_t calls = 0;
  sample_annealed(options, {0.05, 10}, noisy, chains, 3, [&](Position, const StepInfo&, const Chains&) { ++calls; });
  EXPECT_EQ(calls, 200);
  EXPECT_TRUE(at::allclose(chains.x, 1 + factor * (before - 1), 1e-4, 1e-4));
  EXPECT_NEAR(factor, std::sqrt(0.25 / 100.25), 0.03 * 0.05);
}

// Each level's predictor takes the mean's distance times k = 1 - (sigma - down) sigma / V and the variance to k^2 v +
// up^2, up to the data's own: 8,000 chains, as above. The flow alone would keep where a chain began.
TEST(Annealed, TheAncestralPredictorDrawsNoiseAnew) {
  for (const double share : {0.5, 1.0}) {
    SamplerOptions options{.steps = 0};
    options.annealing = {.levels = 60, .ancestral = share};
    Chains chains = at_noise(8000, 10);
    const at::Tensor before = chains.x.clone();
    double mean = 0, variance = 100;
    for (int level = 0; level < 60; ++level) {
      const auto sigma_of = [](int l) { return l < 60 ? 10 * std::pow(0.05 / 10, l / 59.0) : 0; };
      const double sigma = sigma_of(level), next = sigma_of(level + 1),
                   up = share * next * std::sqrt(1 - next * next / (sigma * sigma)),
                   down = std::sqrt(next * next - up * up), keep = 1 - (sigma - down) * sigma / (0.25 + sigma * sigma);
      mean = 1 + keep * (mean - 1);
      variance = keep * keep * variance + up * up;
    }
    sample_annealed(options, {0.05, 10}, noisy, chains, 3);
    EXPECT_NEAR(chains.x.mean().item<double>(), mean, 4 * std::sqrt(variance / 8000));
    EXPECT_NEAR(chains.x.var().item<double>(), variance, 0.065 * variance);
    EXPECT_NEAR(variance, 0.25, 0.03);
    const double kept = at::corrcoef(at::stack({before.squeeze(1), chains.x.squeeze(1)}))[0][1].item<double>();
    EXPECT_LT(std::fabs(kept), share == 1 ? 0.1 : 0.7);
  }
}

/// Where 10 levels' flow, or as many as told, takes a distance of 1 from the mean, by that order's formula.
double flow_factor(std::int64_t order, int levels) {
  double x = 1, before = 0, last = 0;
  for (int level = 0; level < levels; ++level) {
    const auto sigma_of = [&](int l) { return l < levels ? 10 * std::pow(0.05 / 10, l / (levels - 1.0)) : 0; };
    const double sigma = sigma_of(level), next = sigma_of(level + 1), denoised = x * 0.25 / (0.25 + sigma * sigma);
    const double step = next > 0 ? std::log(sigma / next) : 0;
    const double led = denoised + (order == 2 && last > 0 ? step / (2 * last) * (denoised - before) : 0);
    x = next / sigma * x + (1 - next / sigma) * led;
    before = denoised, last = step;
  }
  return x;
}

// Equal steps in log sigma make h / 2h' a half; with rho = 0 they are. The error falls from the first order's by far
// more than half.
TEST(Annealed, APredictorOfOrder2GoesByWhatDChangedBy) {
  for (const int levels : {10, 40}) {
    SamplerOptions options{.steps = 0};
    options.annealing = {.levels = levels, .order = 2};
    Chains chains = at_noise(6, 10);
    const at::Tensor before = chains.x.clone();
    sample_annealed(options, {0.05, 10}, noisy, chains, 3);
    EXPECT_TRUE(at::allclose(chains.x, 1 + flow_factor(2, levels) * (before - 1), 1e-4, 1e-4)) << levels;
  }
  const double exact = std::sqrt(0.25 / 100.25);
  EXPECT_LT(std::abs(flow_factor(2, 40) - exact), 0.2 * std::abs(flow_factor(1, 40) - exact));
}

// With a kernel's steps at the levels the order is of no account.
TEST(Annealed, APredictorIsOfOrder1AfterLangevinSteps) {
  at::Tensor of_order[2];
  for (const std::int64_t order : {1, 2}) {
    SamplerOptions options{.steps = 1};
    options.annealing = {.levels = 10, .order = order};
    Chains chains = at_noise(6, 10);
    sample_annealed(options, {0.05, 10}, noisy, chains, 3);
    of_order[order - 1] = chains.x;
  }
  EXPECT_TRUE(at::equal(of_order[0], of_order[1]));
}

// A chain whose energy was not finite at one level is led by its D alone at the next, and not lost for good.
TEST(Annealed, APredictorOfOrder2ForgetsWhatIsNotFinite) {
  SamplerOptions options{.steps = 0};
  options.annealing = {.levels = 10, .order = 2};
  Chains chains = at_noise(6, 10);
  int calls = 0;
  const auto once_broken = [&](double sigma) -> std::vector<energy::EnergyPtr> {
    if (++calls != 4) return noisy(sigma);
    return {std::make_shared<energy::Gaussian>(at::full({1}, std::nan("")), at::eye(1))};
  };
  sample_annealed(options, {0.05, 10}, once_broken, chains, 3);
  EXPECT_TRUE(at::isfinite(chains.x).all().item<bool>());
  EXPECT_LT((chains.x - 1).abs().max().item<double>(), 3);
}

TEST(Annealed, WithoutStepsPredictorAndDenoisingChainsStay) {
  SamplerOptions options{.steps = 0};
  options.annealing.predictor = false;
  options.annealing.denoise = false;
  Chains chains = at_noise(5, 3);
  sample_annealed(options, {0.1, 3}, noisy, chains, 3);
  EXPECT_TRUE(at::equal(chains.x, at_noise(5, 3).x));
  EXPECT_EQ(step_count(options, true), 0);
}

TEST(Annealed, AnEnsembleTakesTheStepsInTurn) {
  SamplerOptions options{.steps = 2, .langevin = {.temperature_end = 0}};
  options.annealing = {.levels = 2, .step_share = 0.1, .predictor = false};
  const auto two = [](double sigma) {
    return std::vector<energy::EnergyPtr>{
        std::make_shared<energy::Gaussian>(at::full({1}, -1.0F), sigma * sigma * at::eye(1)),
        std::make_shared<energy::Gaussian>(at::full({1}, 1.0F), sigma * sigma * at::eye(1))};
  };
  Chains chains = at_noise(4, 2);
  at::Tensor x = chains.x.clone();
  sample_annealed(options, {1, 2}, two, chains, 3);
  // step_share sigma^2 of a slope (x - m) / sigma^2; five steps, of which the second model takes the last.
  for (const auto& [middle, rate] : {std::pair{1.0, 0.1}, {-1.0, 0.1}, {1.0, 0.1}, {-1.0, 0.1}, {1.0, 1.0}})
    x = x + rate * (middle - x);
  EXPECT_TRUE(at::allclose(chains.x, x, 1e-5, 1e-5));
}

/// E = a |x - 1|^2 / 2 v + b |x + 1|^2 / 2 v with v = 0.25 + sigma^2: what two energies of data N(+-1, 0.25) add up to.
/// Of weight W = a + b it is N((a - b) / W, v / W), so that the predictor scales the distance from there by sigma' /
/// sigma where noise is much, and MALA keeps the law.
TEST(Annealed, AWeightedSumHasItsLaw) {
  for (const auto& [a, b] : {std::pair{1.0, 1.0}, {2.0, -0.5}, {1.0, 3.0}}) {
    const double weight = a + b, mean = (a - b) / weight;
    const auto composed = [&, a = a, b = b](double sigma) -> std::vector<energy::EnergyPtr> {
      const at::Tensor v = at::eye(1) * (0.25 + sigma * sigma);
      return {std::make_shared<energy::Sum>(
          std::vector<energy::EnergyPtr>{std::make_shared<energy::Gaussian>(at::ones({1}), v),
                                         std::make_shared<energy::Gaussian>(-at::ones({1}), v)},
          std::vector{a, b})};
    };
    for (const char* kernel : {"langevin", "mala", "hmc"}) {
      SamplerOptions options{.steps = 3, .kernel = kernel};
      options.annealing = {.levels = 60, .step_share = 0.05, .denoise = false};
      Chains chains = start_chains({Start::normal}, {1}, 8000, 0, {}, 5);
      const NoiseRange range{0.05, 10, weight};
      start_at_moments(*composed(10)[0], range, chains);
      EXPECT_NEAR(chains.x.var().item<double>(), 100.25 / weight, 0.065 * 100.25 / weight);
      sample_annealed(options, range, composed, chains, 3);
      const double variance = (0.25 + 0.05 * 0.05) / weight;
      EXPECT_NEAR(chains.x.mean().item<double>(), mean, 5 * std::sqrt(variance / 8000)) << kernel << " " << weight;
      EXPECT_NEAR(chains.x.var().item<double>(), variance, 0.08 * variance) << kernel << " " << weight;
    }
  }
}

TEST(Annealed, BadLevelsAreRefused) {
  Chains chains = at_noise(2, 1);
  EXPECT_THROW(sample_annealed({}, {0.1, 1, 0}, noisy, chains, 3), UserError);
  EXPECT_THROW(sample_annealed({}, {0, 1}, noisy, chains, 3), UserError);
  EXPECT_THROW(sample_annealed({}, {2, 1}, noisy, chains, 3), UserError);
  SamplerOptions none;
  none.annealing.levels = 0;
  EXPECT_THROW(sample_annealed(none, {0.1, 1}, noisy, chains, 3), UserError);
}

}  // namespace
}  // namespace igebm::sampling
