#include "igebm/scoring/annealed_importance.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/model/noise.h"

namespace igebm::scoring {
namespace {

struct Case {
  std::string name;
  energy::EnergyPtr energy;
  std::int64_t elements;
  double log_z;
  at::Tensor exact;  ///< samples
  double deviation = 1;
  std::int64_t levels = 300;
};

/// A Gaussian with neighbours correlated by .2, of deviations from 1 to .8, around .3.
Case gaussian(std::int64_t elements) {
  const at::Tensor place = at::arange(elements, at::kDouble),
                   scale = at::pow(1.25, -place / static_cast<double>(elements));
  const at::Tensor correlation =
      at::pow(at::full({}, 0.2, at::kDouble), (place.unsqueeze(0) - place.unsqueeze(1)).abs());
  auto e = std::make_shared<energy::Gaussian>(at::full({elements}, 0.3, at::kDouble),
                                              correlation * scale.unsqueeze(0) * scale.unsqueeze(1));
  const double z = e->log_z();
  return {"Gaussian in " + std::to_string(elements),
          e,
          elements,
          z,
          e->sample(256, 5).to(at::kFloat),
          1.5,
          elements > 2 ? 1000 : 300};
}

/// Three clusters of unequal weight, 3 e^2 of them altogether.
Case clusters() {
  const auto parts = std::make_shared<energy::GaussianMixture>(
      at::tensor({0.6, 0.3, 0.1}), at::tensor({-1.0, 0.0, 1.0, 1.0, 0.5, -1.5}, at::kDouble).view({3, 2}),
      at::tensor({0.4, 0.25, 0.5}, at::kDouble));
  return {"mixture",
          energy::beside_gaussian(parts, 0, -2 - std::log(3)),
          2,
          2 + std::log(3),
          parts->sample(256, 5).to(at::kFloat),
          1.5};
}

/// Of visible numbers and eight hidden bits, which are summed over: E(x) = |x|^2 / 2 - sum_j log(1 + exp(b_j + w_j x)).
/// Z = (2 pi)^(d / 2) sum_h exp(b h + |W h|^2 / 2), and given h x is N(W h, I).
class Machine : public energy::Energy {
 public:
  Machine(const at::Tensor& w, const at::Tensor& b) : w_(w), b_(b) {}
  at::Tensor energy(const at::Tensor& x) const override {
    return x.square().sum(1) / 2 - at::softplus(at::matmul(x, w_.t()) + b_).sum(1);
  }

 private:
  at::Tensor w_, b_;
};

Case machine() {
  constexpr std::int64_t hidden = 8, elements = 5;
  const at::Tensor w = at::sin(at::arange(hidden * elements, at::kFloat) * 7.3).view({hidden, elements}) * 0.9,
                   b = at::cos(at::arange(hidden, at::kFloat) * 3.1) - 1;
  const at::Tensor bits = at::arange(1 << hidden, at::kLong)
                              .unsqueeze(1)
                              .bitwise_right_shift(at::arange(hidden))
                              .remainder(2)
                              .to(at::kDouble);
  const at::Tensor means = at::matmul(bits, w.to(at::kDouble));
  const at::Tensor log_weights = at::matmul(bits, b.to(at::kDouble)) + means.square().sum(1) / 2;
  const double log_z = elements / 2.0 * std::log(2 * std::numbers::pi) + at::logsumexp(log_weights, 0).item<double>();
  const energy::GaussianMixture law(at::softmax(log_weights, 0), means, at::ones({1 << hidden}, at::kDouble));
  return {"machine", std::make_shared<Machine>(w, b), elements, log_z, law.sample(256, 5).to(at::kFloat), 1};
}

std::vector<Case> cases() { return {gaussian(2), gaussian(64), clusters(), machine()}; }

TEST(AnnealedImportance, FindsKnownNormalisers) {
  for (const Case& c : cases()) {
    const AnnealedPath path = geometric_path(c.energy, {c.elements}, c.deviation);
    const AnnealedOptions options{.levels = c.levels, .chains = 256, .batch = 128, .seed = 1};
    const AnnealedSchedule schedule = learn_schedule(path, options);
    ASSERT_EQ(schedule.t.size(), static_cast<std::size_t>(c.levels) + 1);
    EXPECT_EQ(schedule.t.front(), 0);
    EXPECT_EQ(schedule.t.back(), 1);
    EXPECT_TRUE(std::ranges::is_sorted(schedule.t));
    const AnnealedEstimate forwards = annealed_forwards(path, schedule, options),
                           backwards = annealed_backwards(path, schedule, c.exact, options);
    EXPECT_NEAR(forwards.log_z.value, c.log_z, 0.05) << c.name;
    EXPECT_NEAR(backwards.log_z.value, c.log_z, 0.05) << c.name;
    // A chain's own estimate lies below, or backwards above, for certain but for chance.
    const double chance =
        3 * (forwards.log_weights.std().item<double>() + backwards.log_weights.std().item<double>()) / 16;
    EXPECT_LT(forwards.log_weights.mean().item<double>(), c.log_z + chance) << c.name;
    EXPECT_GT(backwards.log_weights.mean().item<double>(), c.log_z - chance) << c.name;
    EXPECT_GT(forwards.effective, 100) << c.name;
    EXPECT_NEAR(forwards.accepted, 0.65, 0.2) << c.name;
    EXPECT_EQ(forwards.gradients, 1 + c.levels * 4);
  }
}

// E(y, sigma) of the same clusters blurred, with a number too much: through the noise levels every cluster keeps its
// share, and Z is that number's, whatever the scale of the path.
TEST(AnnealedImportance, LeadsThroughNoiseLevels) {
  const at::Tensor weights = at::tensor({0.7, 0.3}),
                   means = at::tensor({-2.0, 0.0, 2.0, 1.0}, at::kDouble).view({2, 2});
  const EnergyAt energy = [&](double sigma) {
    return energy::beside_gaussian(
        std::make_shared<energy::GaussianMixture>(weights, means, at::full({2}, std::hypot(0.1, sigma), at::kDouble)),
        0, 3 - std::log(sigma));
  };
  const AnnealedPath path = noise_path(energy, {.sigma_min = 0.05, .sigma_max = 20, .sigma_data = 1.5}, 0.05, {2});
  const AnnealedOptions options{.levels = 1000, .chains = 1000, .batch = 1000, .seed = 2};
  const AnnealedSchedule schedule = learn_schedule(path, options);
  const AnnealedEstimate forwards = annealed_forwards(path, schedule, options);
  const double log_z = std::log(0.05) - 3;
  EXPECT_NEAR(forwards.log_z.value, log_z, 0.05);
  EXPECT_GT(forwards.effective, 500);
  EXPECT_LT(forwards.log_z.low, forwards.log_z.value);
  EXPECT_LT(forwards.log_z.value, forwards.log_z.high);
  // Where chains end is the target's x, not the path's.
  EXPECT_NEAR((forwards.x.select(1, 0) < 0).to(at::kDouble).mean().item<double>(), 0.7, 0.07);
  EXPECT_NEAR(forwards.x.select(1, 0).abs().mean().item<double>(), 2, 0.05);
  const at::Tensor exact = energy::GaussianMixture(weights, means, at::full({2}, std::hypot(0.1, 0.05), at::kDouble))
                               .sample(1000, 2)
                               .to(at::kFloat);
  const AnnealedEstimate backwards = annealed_backwards(path, schedule, exact, options);
  EXPECT_NEAR(backwards.log_z.value, log_z, 0.05);
  EXPECT_GT(backwards.effective, 500);
}

// Of few levels both sides are far off, on their own side: the sandwich holds.
TEST(AnnealedImportance, BoundsFromBothSides) {
  const Case c = gaussian(64);
  const AnnealedPath path = geometric_path(c.energy, {64}, 3);
  const AnnealedOptions options{.levels = 20, .chains = 64, .seed = 2};
  const AnnealedSchedule schedule = learn_schedule(path, options);
  EXPECT_LT(annealed_forwards(path, schedule, options).log_z.high, c.log_z - 1);
  EXPECT_GT(annealed_backwards(path, schedule, c.exact.slice(0, 0, 64), options).log_z.low, c.log_z + 1);
}

TEST(AnnealedImportance, IsTheSameAgain) {
  const Case c = machine();
  const AnnealedPath path = geometric_path(c.energy, {c.elements}, 1);
  const AnnealedOptions options{.levels = 10, .chains = 8, .seed = 3};
  const AnnealedSchedule schedule = learn_schedule(path, options);
  const auto weights = [&](std::int64_t batch, std::uint64_t seed) {
    AnnealedOptions other = options;
    other.batch = batch, other.seed = seed;
    return annealed_forwards(path, schedule, other).log_weights;
  };
  EXPECT_TRUE(at::allclose(weights(8, 3), weights(3, 3), 0, 1e-4));
  EXPECT_FALSE(at::allclose(weights(8, 3), weights(8, 4), 0, 1e-2));
}

/// Not a number from x = 0 on.
class Broken : public energy::Energy {
 public:
  at::Tensor energy(const at::Tensor& x) const override { return (-x.select(1, 0)).sqrt(); }
};

TEST(AnnealedImportance, SaysWhatIsWrong) {
  const AnnealedPath path = geometric_path(std::make_shared<Broken>(), {2}, 1);
  EXPECT_THROW(learn_schedule(path, {.levels = 5}), UserError);
  EXPECT_THROW(learn_schedule(path, {.levels = 0}), UserError);
}

}  // namespace
}  // namespace igebm::scoring
