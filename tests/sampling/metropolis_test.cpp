// MALA and HMC: chains that start from a law and from elsewhere must have the target's moments whatever the step size.
// Bounds are of 4 standard errors of independent chains unless said otherwise: a right kernel fails one such test in
// 16,000.
#include "igebm/sampling/metropolis.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/sampling/registry.h"

namespace igebm::sampling {
namespace {

constexpr std::int64_t many = 40000;
const energy::Gaussian standard_normal(at::zeros({1}), at::eye(1));

class Flat : public energy::Energy {
 public:
  at::Tensor energy(const at::Tensor& x) const override { return 0 * x.flatten(1).sum(1); }
};

Chains spread(std::int64_t count, const std::vector<std::int64_t>& shape = {1}, std::int64_t first = 0) {
  return start_chains({Start::normal}, shape, count, first, {}, 5);
}

/// The kernel by its name, with steps that do not adapt.
std::unique_ptr<Kernel> held(const std::string& name, const LangevinOptions& langevin, std::uint64_t seed = 3) {
  SamplerOptions options{.langevin = langevin};
  options.mala.adaptation.share = options.hmc.adaptation.share = 0;
  options.hmc.leapfrog_steps = 3;
  return find_kernel(name).make(options, seed);
}

double average(const at::Tensor& x) { return x.mean(at::kDouble).item<double>(); }
double mean_square(const at::Tensor& x) { return x.to(at::kDouble).square().mean().item<double>(); }

// Langevin's chains have a variance of 1 / (1 - h / 2) = 2 with this step; MALA's have 1, to an error of sqrt(2 /
// 40000) = 0.7 %, as has x^4 its 3, to sqrt(96 / 40000) = 0.05.
TEST(Metropolis, HasTheGaussiansMomentsWithABigStep) {
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(many);
    chains.x.mul_(0.3).add_(1);
    const StepInfo info = run(*held(name, {.step_size = 1, .noise = -1}), standard_normal, chains, 20);
    EXPECT_NEAR(average(chains.x), 0, 4 / std::sqrt(many)) << name;
    EXPECT_NEAR(mean_square(chains.x), 1, 4 * std::sqrt(2.0 / many)) << name;
    EXPECT_NEAR(mean_square(chains.x.square()), 3, 4 * std::sqrt(96.0 / many)) << name;
    EXPECT_LT(info.accepted_share, 0.97) << name;  // or it has tested nothing
    EXPECT_GT(info.accepted_share, 0.3) << name;
  }
  Chains biased = spread(many);
  run(Langevin({.step_size = 1, .noise = -1}, 3), standard_normal, biased, 60);
  EXPECT_GT(mean_square(biased.x), 1.9);
}

// T = noise^2 / (2 step_size) times the temperature at the step: 0.5 * 0.5 here.
TEST(Metropolis, SamplesAtTheTemperatureThatNoiseAndStepAreOf) {
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(many);
    const LangevinOptions o{.step_size = 0.25, .noise = 0.5, .temperature_start = 0.5, .temperature_end = 0.5};
    run(*held(name, o), standard_normal, chains, 25);
    EXPECT_NEAR(mean_square(chains.x), 0.25, 4 * 0.25 * std::sqrt(2.0 / many)) << name;
  }
}

// Chains exactly of the target's law stay so after any number of steps, at moments of every order, if and only if the
// law is invariant; a wrong ratio (a forgotten factor of 1 / 2, or clipping in one half step alone) shows after one.
TEST(Metropolis, LeavesAnExactLawAsItIs) {
  const energy::GaussianMixture mixture(at::tensor({1.0, 3.0}), at::tensor({-1.2, 0.0, 1.2, 0.5}).reshape({2, 2}),
                                        at::tensor({0.5, 0.8}));
  const at::Tensor exact = mixture.sample(many, 4).to(at::kFloat);
  const auto figures = [](const at::Tensor& x) {
    const at::Tensor a = x.select(1, 0), b = x.select(1, 1);
    return at::stack({a, b, a * a, a * b, b * b, a * a * a, a.gt(0).to(at::kFloat), (a * 3 + b).sin()}, 1)
        .to(at::kDouble);
  };
  const at::Tensor truth = figures(mixture.sample(1000000, 5).to(at::kFloat));
  for (const char* name : {"mala", "hmc"}) {
    for (const double clip : {double{INFINITY}, 0.7}) {
      Chains chains = spread(many, {2});
      chains.x = exact.clone();
      const auto kernel = held(name, {.step_size = 0.15, .noise = -1, .gradient_clip = clip});
      for (const std::int64_t steps : {1, 12}) {
        const StepInfo info = run(*kernel, mixture, chains, steps);
        EXPECT_LT(info.accepted_share, 0.97) << name;
        const at::Tensor now = figures(chains.x), error = now.std(0) / std::sqrt(static_cast<double>(many));
        EXPECT_LT(((now.mean(0) - truth.mean(0)) / error).abs().max().item<double>(), 4.5) << name << clip << steps;
      }
    }
  }
}

// Half of the chains start in either well, all must end with 3/4 of them right of the middle. Wells of sd 0.5 at +-1: a
// chain changes sides often. The weight's error is sqrt(3 / 16 / 40000) = 0.2 %.
TEST(Metropolis, FindsTheWeightsOfADoubleWell) {
  const energy::GaussianMixture wells(at::tensor({1.0, 3.0}), at::tensor({-1.0, 1.0}).reshape({2, 1}),
                                      at::tensor({0.5, 0.5}));
  const double right = 0.75 * 0.97724987 + 0.25 * 0.02275013;
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(many);
    run(*held(name, {.step_size = 0.3, .noise = -1}), wells, chains, 60);
    EXPECT_NEAR(average(chains.x.gt(0).to(at::kFloat)), right, 4 * std::sqrt(right * (1 - right) / many)) << name;
  }
}

// A flat energy between walls: uniform, with every step taken. All chains start beside one wall.
TEST(Metropolis, IsUniformBetweenWallsOnAFlatEnergy) {
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(many);
    chains.x.fill_(-0.9);
    const StepInfo info = run(*held(name, {.step_size = 0.4, .noise = -1, .low = -1, .high = 2}), Flat(), chains, 40);
    EXPECT_EQ(info.accepted_share, 1) << name;
    EXPECT_GE(chains.x.min().item<float>(), -1) << name;
    EXPECT_LE(chains.x.max().item<float>(), 2) << name;
    const at::Tensor u = (chains.x.to(at::kDouble) + 1) / 3;
    EXPECT_NEAR(average(u), 0.5, 4 * std::sqrt(1.0 / 12 / many)) << name;
    EXPECT_NEAR(mean_square(u), 1.0 / 3, 4 * std::sqrt(4.0 / 45 / many)) << name;
    EXPECT_NEAR(average(u.lt(0.05).to(at::kDouble)), 0.05, 4 * std::sqrt(0.05 * 0.95 / many)) << name;  // at the walls
  }
}

// A standard normal cut at 0.5 below, where its density is greatest: mean phi / (1 - Phi) = 1.14108, mean square 1 +
// 0.5 times that. Chains start outside.
TEST(Metropolis, IsATruncatedGaussianBeyondAWall) {
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(many);
    run(*held(name, {.step_size = 0.15, .noise = -1, .low = 0.5}), standard_normal, chains, 40);
    const double expected = 1.1410777, square = 1 + 0.5 * expected, variance = square - expected * expected;
    EXPECT_GE(chains.x.min().item<float>(), 0.5) << name;
    EXPECT_NEAR(average(chains.x), expected, 4 * std::sqrt(variance / many)) << name;
    EXPECT_NEAR(average(chains.x.lt(0.6).to(at::kFloat)), 0.11112, 4 * std::sqrt(0.1 / many)) << name;
  }
}

// Step sizes learn for 200 of 400 steps, from ones that are far too small and far too large, in 20 directions. Of 600
// chains over the last 100 steps the acceptance has an error of about 0.2 %; learning leaves up to some percent.
TEST(Metropolis, StepSizesLearnTheAcceptanceAndThenStay) {
  const energy::Gaussian energy(at::zeros({20}), at::diag(at::linspace(0.5, 1.5, 20)));
  for (const char* name : {"mala", "hmc"}) {
    for (const double step : {1e-4, 1.0, 100.0}) {
      SamplerOptions options{.langevin = {.step_size = step, .noise = -1}};
      options.hmc.leapfrog_steps = 5;
      Chains chains = spread(600, {20});
      at::Tensor learnt;
      double accepted = 0;
      const std::string key = std::string(name) + ".log_step";
      run(*find_kernel(name).make(options, 3), energy, chains, 400,
          [&](Position p, const StepInfo& info, const Chains& moved) {
            if (p.step == 199) learnt = moved.state.at(key).clone();
            if (p.step >= 300) accepted += info.accepted_share / 100;
          });
      EXPECT_NEAR(accepted, name == std::string("mala") ? 0.574 : 0.651, 0.03) << name << step;
      EXPECT_TRUE(at::equal(learnt, chains.state.at(key)));
      EXPECT_TRUE(at::equal(chains.state.at(std::string(name) + ".adapted"), at::full({600}, 200, at::kDouble)));
      EXPECT_NEAR(mean_square(chains.x.select(1, 19)), 1.5, 4.5 * 1.5 * std::sqrt(2.0 / 600)) << name << step;
    }
  }
}

TEST(Metropolis, AChainIsTheSameInAnySplitOnAnyThreadsAndWhenResumed) {
  const energy::DoubleWell well(70, 0.5);
  const int threads = at::get_num_threads();
  for (const char* name : {"mala", "hmc"}) {
    const auto kernel = find_kernel(name).make({.langevin = {.step_size = 0.2, .noise = -1, .low = -2, .high = 2}}, 11);
    Chains all = spread(300, {70});
    all.x[1][2] = NAN;
    run(*kernel, well, all, 12);
    for (const int t : {1, 2}) {
      at::set_num_threads(t);
      Chains one = spread(1, {70}, 5), part = spread(130, {70}, 30), resumed = spread(300, {70});
      run(*kernel, well, one, 12);
      run(*kernel, well, part, 12);
      EXPECT_TRUE(at::equal(one.x, all.x.slice(0, 5, 6))) << name << t;
      EXPECT_TRUE(at::equal(part.x, all.x.slice(0, 30, 160))) << name << t;
      // Two halves of a run, the second of chains that know neither energies nor whom they were beside.
      kernel->transitions(well, resumed, {0, 12}, 5);
      resumed = resumed.select(at::arange(299, 1, -1));
      kernel->transitions(well, resumed, {5, 12}, 7);
      EXPECT_TRUE(at::equal(resumed.x.flip(0), all.x.slice(0, 2))) << name << t;
      EXPECT_TRUE(at::equal(resumed.state.begin()->second.flip(0), all.state.begin()->second.slice(0, 2)));
    }
    at::set_num_threads(threads);
  }
}

/// Counts its calls; not a number beyond 1.5.
class Counted : public energy::Energy {
 public:
  at::Tensor energy(const at::Tensor& x) const override {
    ++calls;
    return at::where(x.gt(1.5).any(1), NAN, 0.5 * x.square().sum(1));
  }
  mutable int calls = 0;
};

TEST(Metropolis, EvaluatesOnceALeapfrogStepAndOnceAtTheStart) {
  for (const char* name : {"mala", "hmc"}) {
    const Counted energy;
    const auto kernel = held(name, {.step_size = 0.3, .noise = -1});
    const int each = name == std::string("hmc") ? 3 : 1;
    Chains chains = spread(50, {2});
    run(*kernel, energy, chains, 10);
    EXPECT_EQ(energy.calls, 1 + 10 * each) << name;
    kernel->transition(energy, chains, {0, 1});
    EXPECT_EQ(energy.calls, 1 + 11 * each) << name;
    chains.x[0].zero_();
    kernel->transition(energy, chains, {0, 1});
    EXPECT_EQ(energy.calls, 2 + 12 * each) << name;
  }
}

// Where there is no energy there is no density: those inside never go there, and those there stay and are counted.
TEST(Metropolis, RefusesWhatIsNotFinite) {
  for (const char* name : {"mala", "hmc"}) {
    Chains chains = spread(4000);
    chains.x.clamp_max_(1.4);
    chains.x[7].fill_(2);
    const StepInfo info = run(*held(name, {.step_size = 0.5, .noise = -1}), Counted(), chains, 30);
    EXPECT_EQ(info.non_finite, 30) << name;
    EXPECT_FALSE(info.chains[7].finite || info.chains[7].accepted) << name;
    EXPECT_EQ(chains.x[7].item<float>(), 2) << name;
    EXPECT_EQ(chains.x.gt(1.5).sum().item<std::int64_t>(), 1) << name;
    EXPECT_TRUE(at::equal(chains.steps, at::full({4000}, 30, at::kLong)));
    // A standard normal below 1.5: mean -phi(1.5) / Phi(1.5) = -0.13879, sd 0.88.
    EXPECT_NEAR(average(chains.x), -0.13879, 4 * 0.88 / std::sqrt(4000)) << name;
  }
}

// Accepted, a step of MALA is Langevin's own, to rounding.
TEST(Metropolis, MalaTakesLangevinsSteps) {
  const LangevinOptions o{.step_size = 0.05, .noise = 0.2, .gradient_clip = 0.8};
  const energy::DoubleWell well(3, 0.5);
  Chains adjusted = spread(500, {3}), plain = spread(500, {3});
  const StepInfo info = held("mala", o, 8)->transition(well, adjusted, {0, 1});
  const at::Tensor before = plain.x.clone();
  run(Langevin(o, 8), well, plain, 1);
  std::int64_t taken = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    const bool accepted = info.chains[static_cast<std::size_t>(i)].accepted;
    EXPECT_TRUE(at::allclose(adjusted.x[i], accepted ? plain.x[i] : before[i], 1e-5, 1e-6)) << i;
    taken += accepted ? 1 : 0;
  }
  EXPECT_GT(taken, 300);
  EXPECT_LT(taken, 500);
}

TEST(Metropolis, BadOptionsAreNamed) {
  const LangevinOptions good{.step_size = 0.1, .noise = -1};
  EXPECT_NO_THROW(Metropolis(good, HmcOptions(), 0));
  for (const LangevinOptions& bad : {LangevinOptions{.step_size = 0}, LangevinOptions{.noise = 0},
                                     LangevinOptions{.temperature_end = 0}, LangevinOptions{.noise_first = true}})
    EXPECT_THROW(Metropolis(bad, MalaOptions(), 0), UserError);
  EXPECT_THROW(Metropolis(good, HmcOptions{.leapfrog_steps = 0}, 0), UserError);
  EXPECT_THROW(Metropolis(good, HmcOptions{.jitter = 1}, 0), UserError);
  EXPECT_THROW(Metropolis(good, MalaOptions{.adaptation = {.acceptance = 1}}, 0), UserError);
  EXPECT_THROW(Metropolis(good, MalaOptions{.adaptation = {.share = 2}}, 0), UserError);
  EXPECT_THROW(find_kernel("nuts"), UserError);
}

}  // namespace
}  // namespace igebm::sampling
