#include "igebm/sampling/settled.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "igebm/energy/analytic.h"

namespace igebm::sampling {
namespace {

constexpr double wide = 0.8, narrow = 0.05, share = 0.3;  // of a mixture in the plane: 0.3 of it is narrow

/// The mixture under noise, each input at a level of its own.
class NoisyMixture : public energy::Energy {
 public:
  explicit NoisyMixture(at::Tensor sigma) : sigma_(std::move(sigma)) {}
  at::Tensor energy(const at::Tensor& x) const override {
    const auto part = [&](double weight, double middle, double deviation) {
      const at::Tensor variance = (sigma_.square() + deviation * deviation).to(x.scalar_type()),
                       far = (x - at::tensor({middle, 0.0}).to(x.scalar_type())).square().sum(1);
      return std::log(weight) - variance.log() - far / (2 * variance);
    };
    return -at::logaddexp(part(share, -2, narrow), part(1 - share, 2, wide));
  }

 private:
  at::Tensor sigma_;
};

energy::EnergyPtr mixture_at(const at::Tensor&, const at::Tensor& sigma) {
  return std::make_shared<NoisyMixture>(sigma);
}

constexpr NoiseRange range = {.sigma_min = 0.02, .sigma_max = 20};
const SettledOptions fine = {.most = 400, .longest = 0.2, .tolerance = 0.002, .detail = 0.02, .rest = 0.01};

Batch batch_of(std::int64_t count, std::int64_t slots, double deviation) {
  return {.count = count,
          .slots = slots,
          .begin =
              [=](std::int64_t begin, std::int64_t end) {
                Chains chains = start_chains({Start::normal}, {2}, end - begin, 100 + begin, {}, 5);
                chains.x.mul_(deviation);
                return chains;
              },
          .seed = 5};
}

Settled through_levels(std::int64_t count, std::int64_t slots, const SettledOptions& options = fine) {
  return settle_through_levels(options, 1, range, mixture_at, batch_of(count, slots, range.sigma_max));
}

void expect_same(const Settled& a, const Settled& b) {
  EXPECT_TRUE(at::equal(a.x, b.x));
  EXPECT_TRUE(at::equal(a.evaluations, b.evaluations));
  EXPECT_TRUE(at::equal(a.steps, b.steps));
  EXPECT_TRUE(at::equal(a.sigma, b.sigma));
  EXPECT_TRUE(at::equal(a.settled, b.settled));
}

TEST(Settled, AChainDoesNotDependOnItsBatch) {
  const Settled alone = through_levels(40, 1);
  EXPECT_GT(std::set<std::int64_t>(alone.evaluations.data_ptr<std::int64_t>(),
                                   alone.evaluations.data_ptr<std::int64_t>() + 40)
                .size(),
            3U);  // they end at different times
  for (const std::int64_t slots : {7, 40, 64}) expect_same(through_levels(40, slots), alone);
  const Settled more = through_levels(60, 7);
  EXPECT_TRUE(at::equal(more.x.slice(0, 0, 40), alone.x));
}

// Every chain that is begun comes back once, with its own number of gradients, and the batch stays full.
TEST(Settled, PlacesAreFilledAgainAndEveryChainIsFinished) {
  Batch batch = batch_of(50, 8, range.sigma_max);
  std::int64_t rounds = 0, moved = 0, full = 0;
  std::map<std::int64_t, std::int64_t> seen;
  batch.on_round = [&](const Round& r) {
    ++rounds, moved += r.chains.size();
    EXPECT_EQ(r.sigma.size(0), r.chains.size());
    EXPECT_EQ(r.info.chains.size(), static_cast<std::size_t>(r.chains.size()));
    full += r.chains.size() == 8 ? 1 : 0;
    if (r.count - r.finished >= 8) {
      EXPECT_EQ(r.chains.size(), 8);
    }
    for (std::int64_t i = 0; i < r.chains.size(); ++i) ++seen[r.chains.stream[i].item<std::int64_t>()];
  };
  const Settled done = settle_through_levels(fine, 1, range, mixture_at, batch);
  EXPECT_EQ(seen.size(), 50U);
  for (std::int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(done.evaluations[i].item<std::int64_t>(), seen[100 + i]);
    EXPECT_EQ(done.steps[i].item<std::int64_t>(), seen[100 + i] - 1);  // the last draws no noise
  }
  EXPECT_EQ(moved, done.evaluations.sum().item<std::int64_t>());
  EXPECT_LT(rounds - full, 0.3 * static_cast<double>(rounds));
}

double share_of_narrow(const at::Tensor& x) { return (x.select(1, 0) < -1).to(at::kDouble).mean().item<double>(); }

// 4,000 chains: the share of the narrow part has a standard error of .0072, so that a bias of .033 is seen with a
// probability of 90 % at z = 3.3, and deviations have one of 2 % and 1.3 %. Were slow chains thrown away, as where the
// first 4,000 to end of 8,000 are kept, the share would be far off: these chains are the quicker the wider their part.
TEST(Settled, TheLawIsTheDatas) {
  const std::int64_t count = 4000;
  const Settled done = through_levels(count, 512);
  EXPECT_TRUE(done.settled.all().item<bool>());
  EXPECT_NEAR(share_of_narrow(done.x), share, 3.3 * std::sqrt(share * (1 - share) / count));
  const at::Tensor left = done.x.select(1, 0) < -1;
  const auto part = [&](const at::Tensor& of, double middle, double deviation) {
    const at::Tensor x = done.x.index_select(0, of.nonzero().squeeze(1)).to(at::kDouble);
    const double n = static_cast<double>(x.size(0));
    EXPECT_NEAR(x.select(1, 0).mean().item<double>(), middle, 3.3 * deviation / std::sqrt(n) + 0.02 * deviation);
    EXPECT_NEAR(x.select(1, 1).std().item<double>(), deviation, 3.3 * deviation / std::sqrt(2 * n) + 0.04 * deviation);
  };
  part(left, -2, narrow);
  part(left.logical_not(), 2, wide);
  // The control: the same chains, the slower half thrown away.
  const at::Tensor quick = done.evaluations.argsort().slice(0, 0, count / 2);
  const double biased = share_of_narrow(done.x.index_select(0, quick));
  EXPECT_GT(std::abs(biased - share), 3.3 * std::sqrt(share * (1 - share) / count) * 2) << biased;
}

TEST(Settled, NoChainTakesMoreThanItMay) {
  SettledOptions few = fine;
  few.most = 6, few.longest = 3;
  const Settled done = through_levels(30, 8, few);
  EXPECT_LE(done.evaluations.max().item<std::int64_t>(), 6);
  EXPECT_LT(done.sigma.max().item<double>(), range.sigma_max);  // each came down
  EXPECT_TRUE(done.x.isfinite().all().item<bool>());
}

// Stopped in the middle: the first chains, as they are without.
TEST(Settled, WhatIsFinishedIsKept) {
  Batch batch = batch_of(50, 8, range.sigma_max);
  batch.on_round = [](const Round& r) {
    if (r.finished >= 20) throw Stop();
  };
  const Settled part = settle_through_levels(fine, 1, range, mixture_at, batch);
  ASSERT_GT(part.x.size(0), 3);
  ASSERT_LE(part.x.size(0), 20);
  EXPECT_TRUE(at::equal(part.x, through_levels(50, 8).x.slice(0, 0, part.x.size(0))));
}

/// A long and a short side: what is slow to move is seen in the law.
energy::EnergyPtr long_gaussian(const at::Tensor&) {
  return std::make_shared<energy::Gaussian>(at::tensor({1.0, -1.0}), at::tensor({1.0, 0.0, 0.0, 0.09}).reshape({2, 2}));
}

const SamplerOptions langevin = {.langevin = {.step_size = 0.01, .noise = -1}};
const SettledOptions windows = {.most = 20000, .window = 100};

TEST(Settled, WithoutLevelsAChainDoesNotDependOnItsBatch) {
  const Settled alone = settle(windows, langevin, long_gaussian, batch_of(20, 1, 4));
  for (const std::int64_t slots : {6, 20})
    expect_same(settle(windows, langevin, long_gaussian, batch_of(20, slots, 4)), alone);
  EXPECT_EQ(alone.evaluations.remainder(windows.window).sum().item<std::int64_t>(), 0);
  EXPECT_GE(alone.evaluations.min().item<std::int64_t>(), 3 * windows.window);
}

// Chains begin four deviations away. 4,000 of them: a mean's standard error is .016, a deviation's 1.1 %, so that
// biases of .073 and 5 % are seen with a probability of 90 %. Unadjusted steps of .01 make the short side's variance 1
// / (1 - .01 / (2 * .09)) times as great.
TEST(Settled, WithoutLevelsTheLawIsTheEnergys) {
  const std::int64_t count = 4000;
  const Settled done = settle(windows, langevin, long_gaussian, batch_of(count, 512, 4));
  EXPECT_TRUE(done.settled.all().item<bool>());
  EXPECT_LT(done.evaluations.to(at::kDouble).mean().item<double>(), 1500);
  for (const auto& [axis, mean, variance] :
       {std::tuple{0, 1.0, 1 / (1 - 0.005)}, {1, -1.0, 0.09 / (1 - 0.01 / 0.18)}}) {
    const at::Tensor x = done.x.select(1, axis).to(at::kDouble);
    const double deviation = std::sqrt(variance);
    EXPECT_NEAR(x.mean().item<double>(), mean, 3.3 * deviation / std::sqrt(count)) << axis;
    EXPECT_NEAR(x.std().item<double>(), deviation, 3.3 * deviation / std::sqrt(2 * count)) << axis;
  }
}

}  // namespace
}  // namespace igebm::sampling
