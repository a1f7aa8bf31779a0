#include "igebm/sampling/averaged.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/refusals.h"

namespace igebm::sampling {
namespace {

/// Of a Gaussian with these precisions; not finite where x is far.
class Precisions : public energy::Energy {
 public:
  explicit Precisions(at::Tensor p) : p_(std::move(p)) {}
  at::Tensor energy(const at::Tensor& x) const override {
    const at::Tensor e = (p_ * x.square()).sum(1) / 2;
    return e.masked_fill(e > 1e6, std::numeric_limits<float>::infinity());
  }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override { return {energy(x), p_ * x}; }

 private:
  at::Tensor p_;
};

// Langevin's own steps of that size would make the last variance four times as large.
TEST(AveragedLangevin, HasAGaussiansLawAtLongSteps) {
  const at::Tensor p = at::tensor({0.2F, 0.5F, 1.0F, 1.5F});
  const std::int64_t count = 20000;
  auto chains = start_chains({Start::normal}, {4}, count, 0, {}, 3);
  chains.x.div_(p.sqrt());
  const Precisions energy(p);
  run(AveragedLangevin(1, 5), energy, chains, 30);
  const double error = 4 * std::sqrt(2.0 / static_cast<double>(count));
  EXPECT_LT((chains.x.var(0) * p - 1).abs().max().item<double>(), error) << chains.x.var(0) * p;
  EXPECT_LT((chains.x.mean(0) * p.sqrt()).abs().max().item<double>(), 4 / std::sqrt(count));
}

// As at noise levels, where chains run again and again: what each run loses would add up to an eighth.
TEST(AveragedLangevin, KeepsALawOverShortRuns) {
  const std::int64_t count = 20000;
  auto chains = start_chains({Start::normal}, {1}, count, 0, {}, 3);
  for (int k = 0; k < 40; ++k) run(AveragedLangevin(0.02, 5), Precisions(at::ones({1})), chains, 4);
  EXPECT_NEAR(chains.x.var().item<double>(), 1, 4 * std::sqrt(2.0 / static_cast<double>(count)));
}

TEST(AveragedLangevin, HoldsWhatIsFixedAndWhatIsNotFinite) {
  const Precisions energy(at::ones({2}));
  auto chains = start_chains({Start::normal}, {2}, 3, 0, {}, 3);
  chains.x[1].fill_(1e6);
  chains.fixed = at::tensor({1, 0}).to(at::kBool);
  const at::Tensor before = chains.x.clone();
  const AveragedLangevin kernel(0.5, 5);
  const StepInfo info = kernel.transition(energy, chains, {});
  EXPECT_EQ(info.non_finite, 1);
  EXPECT_TRUE(at::equal(chains.x[1], before[1]));
  EXPECT_TRUE(at::equal(chains.x.select(1, 0), before.select(1, 0)));
  EXPECT_FALSE(chains.x.select(1, 1)[0].equal(before.select(1, 1)[0]));
  // Each chain by its own stream, wherever it stands.
  auto alone = start_chains({Start::normal}, {2}, 3, 0, {}, 3).slice(2, 3);
  alone.fixed = chains.fixed;
  kernel.transition(energy, alone, {});
  EXPECT_TRUE(at::equal(alone.x[0], chains.x[2]));
  EXPECT_SAYS(AveragedLangevin(0, 1), "step_size must be above 0");
}

}  // namespace
}  // namespace igebm::sampling
