#include "igebm/sampling/langevin.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/flow.h"
#include "igebm/sampling/sampler.h"
#include "tests/sampling/plain.h"

namespace igebm::sampling {
namespace {

const energy::Gaussian standard(at::zeros({1}), at::eye(1));

Chains start(std::int64_t count, std::int64_t first = 0, const std::vector<std::int64_t>& shape = {1}) {
  return start_chains({Start::normal}, shape, count, first, {}, 5);
}

// Unadjusted Langevin on N(0, 1) with step h: x <- (1 - h) x + sqrt(2 h) n has variance 2h / (1 - (1 - h)^2) = 1 / (1 -
// h / 2). 40,000 independent chains: the sample variance has a standard error of var sqrt(2 / 40000) = 0.7 %, so the
// bound of 4 of them tells the discretised law (1.25) from the target's (1) with certainty.
TEST(Langevin, HasTheMomentsOfTheDiscretisedGaussian) {
  const double h = 0.4, variance = 1 / (1 - h / 2), error = std::sqrt(2.0 / 40000);
  Chains chains = start(40000);
  run(Langevin({.step_size = h, .noise = -1}, 3), standard, chains, 60);
  EXPECT_NEAR(chains.x.mean().item<double>(), 0, 4 * std::sqrt(variance / 40000));
  EXPECT_NEAR(chains.x.square().mean().item<double>(), variance, 4 * variance * error);
}

// In IGEBM's order the state that is returned lacks the last noise's step: y = x + s n, x' = (1 - h) y, so
// var = (1 - h)^2 s^2 / (1 - (1 - h)^2), here with s^2 = 2 h.
TEST(Langevin, NoiseFirstHasItsOwnMoments) {
  const double h = 0.4, keep = (1 - h) * (1 - h), variance = keep * 2 * h / (1 - keep);
  Chains chains = start(40000);
  run(Langevin({.step_size = h, .noise = -1, .noise_first = true}, 3), standard, chains, 60);
  EXPECT_NEAR(chains.x.square().mean().item<double>(), variance, 4 * variance * std::sqrt(2.0 / 40000));
}

// A small step leaves the mixture nearly exact: bias of order h. One run's mean over 20,000 chains from exact weights.
TEST(Langevin, KeepsTheMixture) {
  const energy::GaussianMixture mixture(at::tensor({1.0, 3.0}), at::tensor({-1.5, 1.5}).reshape({2, 1}),
                                        at::tensor({0.5, 0.5}));
  Chains chains = start(20000);
  // Exact start: a quarter of the chains around -1.5.
  const at::Tensor side = at::where(at::arange(20000).remainder(4) == 0, -1.5, 1.5).to(at::kFloat);
  chains.x = side.unsqueeze(1) + 0.5 * chains.x;
  run(Langevin({.step_size = 0.01, .noise = -1}, 7), mixture, chains, 500);
  const double second = 0.25 + 2.25, mean = 0.75;
  EXPECT_NEAR(chains.x.mean().item<double>(), mean, 4 * std::sqrt((second - mean * mean) / 20000) + 0.01);
  EXPECT_NEAR(chains.x.square().mean().item<double>(), second, 4 * 1.6 / std::sqrt(20000.0) + 0.02);
}

TEST(Langevin, AChainIsTheSameAloneInABatchAndOnAnyThreads) {
  const energy::DoubleWell well(7, 0.5);
  const Langevin langevin({.step_size = 0.05, .noise = -1, .gradient_clip = 2, .low = -3, .high = 3}, 11);
  const int threads = at::get_num_threads();
  Chains all = start(64, 0, {7});
  run(langevin, well, all, 20);
  for (const int t : {1, 2}) {
    at::set_num_threads(t);
    Chains again = start(64, 0, {7}), one = start(1, 5, {7}), part = start(13, 30, {7});
    run(langevin, well, again, 20);
    run(langevin, well, one, 20);
    run(langevin, well, part, 20);
    EXPECT_TRUE(at::equal(again.x, all.x)) << t;
    EXPECT_TRUE(at::equal(one.x, all.x.slice(0, 5, 6))) << t;
    EXPECT_TRUE(at::equal(part.x, all.x.slice(0, 30, 43))) << t;
  }
  at::set_num_threads(threads);
}

TEST(Langevin, StoppedAndContinuedIsTheSame) {
  const Langevin langevin({.step_size = 0.1, .noise = -1}, 2);
  Chains whole = start(10), parts = start(10);
  run(langevin, standard, whole, 30);
  run(langevin, standard, parts, 12);
  run(langevin, standard, parts, 18);
  EXPECT_TRUE(at::equal(whole.x, parts.x));
  EXPECT_TRUE(at::equal(parts.steps, at::full({10}, 30, at::kLong)));
}

TEST(Langevin, ClipsAndClampsAndSaysHowOften) {
  Chains chains = start(3);
  chains.x = at::tensor({10.0F, 0.5F, -10.0F}).unsqueeze(1);
  const auto info =
      run(Langevin({.step_size = 2, .noise = 0, .gradient_clip = 1, .low = -9, .high = 7}, 0), standard, chains, 1);
  EXPECT_TRUE(at::equal(chains.x.squeeze(1), at::tensor({7.0F, -0.5F, -8.0F})));
  EXPECT_NEAR(info.clipped_share, 2.0 / 3, 1e-12);
  EXPECT_NEAR(info.gradient_norm, std::sqrt((100 + 0.25 + 100) / 3), 1e-5);
  EXPECT_NEAR(info.energy, (50 + 0.125 + 50) / 3, 1e-5);
}

/// A standard normal's energy with a hole: not a number beyond 4 in the first direction. With and without tensors.
class Hole : public energy::Energy, public energy::PlainLoop {
 public:
  explicit Hole(bool fused) : fused_(fused) {}
  at::Tensor energy(const at::Tensor& x) const override {
    return at::where(x.select(1, 0).gt(4), NAN, 0.5 * x.square().sum(1));
  }
  bool takes(std::int64_t /*elements*/) const override { return fused_; }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override {
    for (std::int64_t i = 0; i < count; ++i) {
      const float hole = x[i * elements] > 4 ? NAN : 0;
      energy[i] = hole;
      for (std::int64_t j = i * elements; j < (i + 1) * elements; ++j)
        gradient[j] = x[j] + hole, energy[i] += 0.5F * x[j] * x[j];
    }
  }

 private:
  bool fused_;
};

TEST(Langevin, AChainThatIsNotFiniteStandsStillAndIsCounted) {
  const OnStep watch = [](Position, const StepInfo& info, const Chains&) { EXPECT_EQ(info.non_finite, 2); };
  for (const bool noise_first : {false, true}) {
    for (const bool fused : {false, true}) {
      for (const OnStep& on_step : {OnStep(), watch}) {
        Chains chains = start(40, 0, {3});
        chains.x[2][0] = 5;  // a good place to stand, but not to know which way to go
        chains.x[7][1] = std::nan("");
        const at::Tensor before = chains.x.clone();
        const Langevin langevin({.step_size = 0.1, .noise = 0.05, .noise_first = noise_first}, 0);
        const auto info = run(langevin, Hole(fused), chains, 5, on_step);
        EXPECT_EQ(info.non_finite, 10);
        EXPECT_TRUE(std::isfinite(info.energy) && std::isfinite(info.gradient_norm));
        EXPECT_TRUE(at::equal(chains.x[2], before[2])) << noise_first << fused;
        EXPECT_TRUE(at::allclose(chains.x[7], before[7], 0, 0, /*equal_nan=*/true)) << noise_first << fused;
        EXPECT_TRUE(chains.x[3].ne(before[3]).all().item<bool>());
        EXPECT_TRUE(at::equal(chains.steps, at::full({40}, 5, at::kLong)));
      }
    }
  }
}

// A gradient whose square is beyond a float is finite all the same: clipped, it moves its chain.
TEST(Langevin, AChainIsTheSameBesideOneThatIsNotFinite) {
  const energy::DoubleWell well(2, 1.0);
  for (const bool noise_first : {false, true}) {
    const Langevin langevin({.step_size = 800, .noise = 0.1, .gradient_clip = 1, .noise_first = noise_first}, 0);
    const auto moved = [&](const energy::Energy& energy, bool beside, const OnStep& on_step) {
      Chains chains = start(beside ? 3 : 1, 0, {2});
      chains.x[0].fill_(3e6F);
      if (beside) chains.x[1][0] = std::nan("");
      EXPECT_EQ(run(langevin, energy, chains, 5, on_step).non_finite, beside ? 5 : 0);
      return chains.x[0];
    };
    const at::Tensor alone = moved(well, false, {});
    EXPECT_NEAR(alone[0].item<double>(), 3e6 - 4000, 2);
    const OnStep watch = [](Position, const StepInfo& info, const Chains&) {
      EXPECT_TRUE(std::isfinite(info.gradient_norm));
    };
    for (const bool beside : {false, true}) {
      for (const OnStep& on_step : {OnStep(), watch}) {
        EXPECT_TRUE(at::equal(moved(well, beside, on_step), alone)) << noise_first << beside;
        EXPECT_TRUE(at::equal(moved(Plain(well), beside, on_step), alone)) << noise_first << beside;
      }
    }
  }
}

TEST(Langevin, AnnealsTheTemperatureGeometrically) {
  // With a flat energy the state is the sum of the noises: variance sum_k sigma^2 T_k, T = 1, 1/10, 1/100.
  class Flat : public energy::Energy {
   public:
    at::Tensor energy(const at::Tensor& x) const override { return 0 * x.sum(1); }
  };
  Chains chains = start(20000);
  chains.x.zero_();
  run(Langevin({.step_size = 1, .noise = 2, .temperature_start = 1, .temperature_end = 0.01}, 1), Flat(), chains, 3);
  EXPECT_NEAR(chains.x.square().mean().item<double>(), 4 * 1.11, 4 * 4.44 * std::sqrt(2.0 / 20000));
}

TEST(Langevin, ARunInPartsIsTheWhole) {
  const Langevin langevin({.step_size = 0.1, .noise = 1, .temperature_start = 1, .temperature_end = 0.01}, 2);
  const energy::Gaussian wide(at::zeros({70}), at::eye(70));  // too wide for the loop without tensors
  for (const std::int64_t size : {1, 70}) {
    const energy::Gaussian& energy = size == 1 ? standard : wide;
    Chains whole = start(10, 0, {size}), parts = start(10, 0, {size});
    run(langevin, energy, whole, 9);
    langevin.transitions(energy, parts, {0, 9}, 7);
    langevin.transitions(energy, parts, {7, 9}, 2);
    EXPECT_TRUE(at::equal(whole.x, parts.x)) << size;
  }
}

TEST(Langevin, SaysWhereItWillTakeItsGradient) {
  for (const bool noise_first : {false, true}) {
    const Langevin langevin({.step_size = 0.3,
                             .noise = 0.7,
                             .gradient_clip = 1,
                             .low = -2,
                             .high = 2,
                             .temperature_start = 1,
                             .temperature_end = 0.25,
                             .noise_first = noise_first},
                            4);
    Chains chains = start(50, 3, {5});
    run(langevin, energy::Gaussian(at::zeros({5}), at::eye(5)), chains, 3);
    const at::Tensor before = chains.x.clone(), at_point = langevin.gradient_point(chains, {2, 5});
    EXPECT_TRUE(at::equal(before, chains.x));
    EXPECT_EQ(at::equal(before, at_point), !noise_first);
    langevin.transition(energy::Gaussian(at::zeros({5}), at::eye(5)), chains, {2, 5});
    const at::Tensor moved = at_point - 0.3 * at_point.clamp(-1, 1);
    // The noise is in there, or comes on top, with a standard deviation of 0.7 sqrt(0.5) where nothing is clamped.
    const at::Tensor rest = (chains.x - moved).masked_select(chains.x.abs().lt(1.99));
    EXPECT_NEAR(rest.std().item<double>(), noise_first ? 0 : 0.7 * std::sqrt(0.5), noise_first ? 1e-5 : 0.1);
  }
}

TEST(Langevin, BadOptionsAreNamed) {
  EXPECT_THROW(Langevin({.step_size = 0}, 0), UserError);
  EXPECT_THROW(Langevin({.step_size = 1, .gradient_clip = -1}, 0), UserError);
  EXPECT_THROW(Langevin({.low = 1, .high = 0}, 0), UserError);
}

// On E = x^2 / 2 the flow is x(1) = x(0) / e: Euler gives (1 - h)^n, Heun (1 - h + h^2 / 2)^n.
TEST(Flow, StepsAsEulerAndHeun) {
  for (const auto& [method, factor] : {std::pair{FlowMethod::euler, 0.9}, std::pair{FlowMethod::heun, 0.905}}) {
    Chains chains = start(5);
    const at::Tensor before = chains.x.clone();
    run(Flow({10, method}), standard, chains, 10);
    EXPECT_TRUE(at::allclose(chains.x, before * std::pow(factor, 10), 1e-5, 1e-6)) << name_of(method);
  }
}

// Heun's second slope is taken at x - h g: at 2 for x = 4 in steps of 1/2, where this energy has none.
TEST(Flow, AChainThatIsNotFiniteAtEitherSlopeStandsStillAndIsCounted) {
  class Gap : public energy::Energy {
   public:
    at::Tensor energy(const at::Tensor& x) const override {
      const at::Tensor first = x.select(1, 0);
      return at::where(first.gt(1.9).logical_and(first.lt(2.1)), NAN, 0.5 * x.square().sum(1));
    }
  };
  for (const auto& [method, bad] : {std::pair{FlowMethod::euler, 2}, std::pair{FlowMethod::heun, 3}}) {
    Chains chains = start(4, 0, {2});
    chains.x.copy_(at::tensor({4.0F, 1.0F, 2.0F, 1.0F, NAN, 1.0F, 1.0F, 3.0F}).view({4, 2}));
    const at::Tensor before = chains.x.clone();
    const StepInfo info = Flow({2, method}).transition(Gap(), chains, {0, 2});
    EXPECT_EQ(info.non_finite, bad) << name_of(method);
    EXPECT_EQ(at::equal(chains.x[0], before[0]), bad == 3) << name_of(method);
    EXPECT_TRUE(at::equal(chains.x[1], before[1]));
    EXPECT_TRUE(chains.x[2][0].isnan().item<bool>() && chains.x[2][1].item<float>() == 1);
    EXPECT_EQ(chains.x.isfinite().sum().item<std::int64_t>(), 7);
    // Means over the others: the last alone, or the first too.
    EXPECT_DOUBLE_EQ(info.energy, bad == 3 ? 5 : (8.5 + 5) / 2);
    EXPECT_NEAR(info.gradient_norm, std::sqrt(bad == 3 ? 10 : (17 + 10) / 2.0), 1e-6);
  }
}

TEST(Sampler, FlowsFirstThenMixes) {
  Chains chains = start(8), by_hand = start(8);
  std::int64_t calls = 0;
  sample({.start = {Start::normal}, .flow = {.steps = 4}, .steps = 6, .langevin = {.step_size = 0.1, .noise = -1}},
         standard, chains, 9, [&](Position p, const StepInfo&, const Chains&) {
           EXPECT_EQ(p.step, calls++);
           EXPECT_EQ(p.total, 10);
         });
  EXPECT_EQ(calls, 10);
  run(Flow({4, FlowMethod::euler}), standard, by_hand, 4);
  run(Langevin({.step_size = 0.1, .noise = -1}, 9), standard, by_hand, 6);
  EXPECT_TRUE(at::equal(chains.x, by_hand.x));
}

// Three wells without noise: each step goes a tenth of the way to its own well's middle; the newest takes the last one.
TEST(Sampler, AnEnsembleTakesTheStepsInTurn) {
  std::vector<energy::EnergyPtr> wells;
  for (const float middle : {1.0F, 2.0F, 4.0F})
    wells.push_back(std::make_shared<energy::Gaussian>(at::full({1}, middle), at::eye(1)));
  Chains chains = start(5);
  at::Tensor x = chains.x.clone();
  std::vector<std::int64_t> positions;
  sample({.flow = {.steps = 2}, .steps = 5, .langevin = {.step_size = 0.1, .noise = 0}}, wells, chains, 9,
         [&](Position p, const StepInfo&, const Chains&) {
           positions.push_back(p.step);
           EXPECT_EQ(p.total, 7);
         });
  EXPECT_EQ(positions, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6}));
  for (const auto& [middle, rate] :
       {std::pair{4.0, 0.5}, {1.0, 0.5}, {2.0, 0.1}, {4.0, 0.1}, {1.0, 0.1}, {2.0, 0.1}, {4.0, 0.1}})
    x = x + rate * (middle - x);
  EXPECT_TRUE(at::allclose(chains.x, x, 1e-5, 1e-6));
  EXPECT_THROW(sample({}, std::vector<energy::EnergyPtr>{}, chains, 9), UserError);
}

TEST(Sampler, TimeIsSharedAmongTheSteps) {
  for (const std::int64_t steps : {3, 12}) {
    Chains chains = start(8), by_hand = start(8);
    sample({.steps = steps, .time = 0.6, .langevin = {.step_size = 7, .noise = -1}}, standard, chains, 9);
    run(Langevin({.step_size = 0.6 / static_cast<double>(steps), .noise = -1}, 9), standard, by_hand, steps);
    EXPECT_TRUE(at::equal(chains.x, by_hand.x)) << steps;
  }
}

// On a flat energy, time is the variance gained, over 2: with as much noise in every step it would grow with the steps.
TEST(Sampler, MoreStepsInATimeAreFinerNotFurther) {
  class Flat : public energy::Energy {
   public:
    at::Tensor energy(const at::Tensor& x) const override { return 0 * x.sum(1); }
  };
  for (const std::int64_t steps : {4, 40}) {
    Chains chains = start(20000);
    chains.x.zero_();
    sample({.steps = steps, .time = 0.6, .langevin = {.noise = -1}}, Flat(), chains, 9);
    EXPECT_NEAR(chains.x.square().mean().item<double>(), 1.2, 4 * 1.2 * std::sqrt(2.0 / 20000)) << steps;
    sample({.steps = steps, .time = 0.6, .langevin = {.noise = 0}}, Flat(), chains, 9);
    EXPECT_THROW(sample({.steps = steps, .time = 0.6, .langevin = {.noise = 0.4}}, Flat(), chains, 9), UserError);
    EXPECT_THROW(sample({.steps = steps, .time = 0.6}, Flat(), chains, 9), UserError);  // 0.005
  }
}

TEST(Fused, MovesChainsAsTheGenericLoopDoes) {
  const at::Tensor means = at::tensor({0.0, 1.0, -1.0, 0.5, 0.3, -0.7}).reshape({3, 2});
  const at::Tensor factor = at::tensor({1.0, 0.2, 0.0, 0.5, 0.7, 0.0, 0.1, -0.3, 0.9}).reshape({3, 3});
  const auto gaussian = std::make_shared<energy::Gaussian>(at::ones({3}), at::matmul(factor, factor.t()));
  const std::vector<std::pair<std::int64_t, energy::EnergyPtr>> energies = {
      {2, std::make_shared<energy::Gaussian>(at::ones({2}), 0.5 * at::eye(2) + 0.2)},
      {3, gaussian},
      {2, std::make_shared<energy::GaussianMixture>(at::ones({3}), means, at::tensor({0.5, 0.3, 0.8}))},
      {2, std::make_shared<energy::DoubleWell>(2, 1.5)},
      {70, std::make_shared<energy::DoubleWell>(70, 1.5)},
      {2, std::make_shared<energy::Rings>(std::vector<double>{0.5, 1.5}, 0.2)},
      {2, std::make_shared<energy::Banana>(1.2, 0.8)},
      {3, std::make_shared<energy::Sum>(
              std::vector<energy::EnergyPtr>{gaussian, std::make_shared<energy::DoubleWell>(3, 0.3)},
              std::vector<double>{0.7, 2.0})},
      {3, std::make_shared<energy::Mixture>(
              std::vector<energy::EnergyPtr>{gaussian, std::make_shared<energy::DoubleWell>(3, 0.3)},
              std::vector<double>{0.7, 2.0})},
      {3, std::make_shared<energy::Masked>(gaussian, at::tensor({1, 0, 1}), at::tensor({0.0, 0.7, 0.0}))},
      {3, energy::rescaled(gaussian, 0.5, 3)},
  };
  for (std::size_t i = 0; i < energies.size(); ++i) {
    const auto& [dimensions, e] = energies[i];
    ASSERT_NE(energy::plain_loop(*e, dimensions), nullptr) << i;
    EXPECT_EQ(energy::plain_loop(*e, dimensions + 1), nullptr) << i;
    for (const bool noise_first : {false, true}) {
      const Langevin kernel({.step_size = 0.01,
                             .noise = 0.1,
                             .gradient_clip = 2,
                             .low = -3,
                             .high = 3,
                             .temperature_start = 1,
                             .temperature_end = 0.1,
                             .noise_first = noise_first},
                            3);
      // 101 chains end within a block of sixteen.
      Chains fused = start(101, 7, {dimensions}), plain = start(101, 7, {dimensions});
      const StepInfo a = run(kernel, *e, fused, 6), b = run(kernel, Plain(*e), plain, 6);
      EXPECT_TRUE(at::allclose(fused.x, plain.x, 1e-3, 1e-4)) << i << " " << (fused.x - plain.x).abs().max();
      EXPECT_TRUE(at::equal(fused.steps, plain.steps));
      EXPECT_NEAR(a.energy, b.energy, 1e-3 * (1 + std::abs(b.energy)));
      EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-3 * (1 + b.gradient_norm));
      EXPECT_NEAR(a.clipped_share, b.clipped_share, 0.02);
      Chains watched = start(101, 7, {dimensions});
      run(kernel, *e, watched, 6, [](Position, const StepInfo&, const Chains&) {});
      EXPECT_TRUE(at::equal(fused.x, watched.x)) << i;
      Chains alone = start(1, 7 + 50, {dimensions});
      run(kernel, *e, alone, 6);
      EXPECT_TRUE(at::equal(alone.x[0], fused.x[50])) << i;
    }
  }
}

TEST(Fused, ChainsThatAreNotFiniteStayAndAreCounted) {
  const energy::DoubleWell e(2, 1.0);
  Chains chains = start(40, 0, {2});
  chains.x[3][0] = std::numeric_limits<float>::quiet_NaN();
  chains.x[17][1] = std::numeric_limits<float>::infinity();
  const at::Tensor before = chains.x.clone();
  const StepInfo info = run(Langevin({.step_size = 0.01, .noise = 0.1}, 3), e, chains, 5);
  EXPECT_EQ(info.non_finite, 2 * 5);
  EXPECT_TRUE(std::isnan(chains.x[3][0].item<float>()) && chains.x[3][1].item<float>() == before[3][1].item<float>());
  EXPECT_TRUE(std::isinf(chains.x[17][1].item<float>()));
  EXPECT_NE(chains.x[4][0].item<float>(), before[4][0].item<float>());
}

}  // namespace
}  // namespace igebm::sampling
