#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"

namespace igebm::energy {
namespace {

at::Tensor points(std::int64_t count, std::int64_t dimensions, int seed = 1) {
  at::manual_seed(static_cast<std::uint64_t>(seed));
  return at::randn({count, dimensions}, at::kDouble);
}

// Central differences in double: error about h^2 and rounding / h, both below 1e-8 at h = 1e-5.
void expect_gradient(const Energy& e, const at::Tensor& x) {
  constexpr double h = 1e-5;
  const auto [energy, gradient] = e.energy_and_gradient(x);
  EXPECT_TRUE(at::allclose(energy, e.energy(x), 1e-10, 1e-10));
  for (std::int64_t d = 0; d < x.size(1); ++d) {
    at::Tensor shift = at::zeros_like(x);
    shift.select(1, d).fill_(h);
    const at::Tensor difference = (e.energy(x + shift) - e.energy(x - shift)) / (2 * h);
    EXPECT_LT((difference - gradient.select(1, d)).abs().max().item<double>(),
              1e-6 * (1 + gradient.abs().max().item<double>()))
        << "dimension " << d;
  }
}

// The same of gradients.
void expect_hessian(const Energy& e, const at::Tensor& x) {
  constexpr double h = 1e-5;
  for (int i = 0; i < 3; ++i) {
    const at::Tensor v = at::randn_like(x);
    const at::Tensor expected =
        (e.energy_and_gradient(x + h * v).gradient - e.energy_and_gradient(x - h * v).gradient) / (2 * h);
    EXPECT_LT((e.hessian_product(x, v) - expected).abs().max().item<double>(),
              1e-6 * (1 + expected.abs().max().item<double>()));
  }
}

// Z by the midpoint rule over [-8, 8]^2.
double integrate(const Energy& e) {
  constexpr std::int64_t side = 1600;
  const double h = 16.0 / side;
  const at::Tensor axis = (at::arange(side, at::kDouble) + 0.5) * h - 8;
  const at::Tensor x = at::stack({axis.repeat({side}), axis.repeat_interleave(side)}, 1);
  return std::log((-e.energy(x)).exp().sum().item<double>() * h * h);
}

const at::Tensor covariance = at::tensor({0.8, 0.3, 0.3, 0.5}, at::kDouble).reshape({2, 2});
const Gaussian gaussian(at::tensor({0.3, -0.2}, at::kDouble), covariance);
const GaussianMixture mixture(at::tensor({1.0, 3.0}, at::kDouble),
                              at::tensor({-1.0, 0.5, 1.0, 0.0}, at::kDouble).reshape({2, 2}),
                              at::tensor({0.5, 0.8}, at::kDouble));

TEST(Analytic, GradientsAgreeWithFiniteDifferences) {
  const at::Tensor x = points(50, 2);
  expect_gradient(gaussian, x);
  expect_gradient(mixture, x);
  expect_gradient(DoubleWell(2, 2.0), x);
  expect_gradient(Rings({1.0, 2.0}, 0.3), x);
  expect_gradient(Banana(1.2, 0.7), x);
  expect_gradient(Gaussian(at::zeros({5}), at::eye(5) * 2), points(20, 5));
}

TEST(Analytic, NormalisersAgreeWithIntegration) {
  const std::pair<const AnalyticEnergy*, const char*> all[] = {{&gaussian, "gaussian"}, {&mixture, "mixture"}};
  for (const auto& [e, name] : all) EXPECT_NEAR(integrate(*e), e->log_z(), 1e-6) << name;
  EXPECT_NEAR(integrate(DoubleWell(2, 2.0)), DoubleWell(2, 2.0).log_z(), 1e-6);
  EXPECT_NEAR(integrate(Rings({1.0, 2.0}, 0.3)), Rings({1.0, 2.0}, 0.3).log_z(), 1e-4);  // a cusp at the origin
  EXPECT_NEAR(integrate(Banana(1.0, 0.1)), Banana(1.0, 0.1).log_z(), 1e-6);
}

// In closed form by Bessel functions: Z = pi/2 exp(-h/2) (I_{-1/4}(h/2) + I_{1/4}(h/2)); for high walls by Laplace's
// expansion about the two wells; for low ones without x^2's term, to a relative sqrt(h).
TEST(Analytic, TheDoubleWellsNormaliserHoldsAtAnyHeight) {
  const auto log_z = [](double height) { return DoubleWell(1, height).log_z(); };
  for (const double h : {0.5, 2.0, 39.9, 40.1, 300.0}) {
    const double first = std::cyl_bessel_i(0.25, h / 2);
    const double second = first + std::numbers::sqrt2 / std::numbers::pi * std::cyl_bessel_k(0.25, h / 2);
    EXPECT_NEAR(log_z(h), std::log(std::numbers::pi / 2 * (first + second)) - h / 2, 1e-12 * (1 + h)) << h;
  }
  for (const double h : {1e8, 1e12, 1e200})
    EXPECT_NEAR(log_z(h), std::log(2) + 0.5 * std::log(std::numbers::pi / (4 * h)) + 3 / (16 * h), 1e-12) << h;
  EXPECT_NEAR(log_z(1e-20), std::log(2 * std::tgamma(1.25) * 1e5), 1e-9);
  EXPECT_DOUBLE_EQ(DoubleWell(3, 1e8).log_z(), 3 * log_z(1e8));
}

const at::Tensor covariances = at::stack({covariance, at::eye(2, at::kDouble) * 0.49});
const GaussianMixture oval(at::tensor({2.0, 1.0}, at::kDouble),
                           at::tensor({-1.0, 0.5, 1.0, 0.0}, at::kDouble).reshape({2, 2}), covariances);

TEST(Analytic, MixturesOfFullCovariances) {
  expect_gradient(oval, points(50, 2));
  EXPECT_NEAR(integrate(oval), 0, 1e-6);
  // Covariances that are multiples of the identity: the same as by deviations.
  const at::Tensor means = points(3, 4), x = points(20, 4, 2), deviations = at::tensor({0.5, 1.0, 2.0}, at::kDouble);
  const GaussianMixture round(at::ones({3}), means, deviations);
  const GaussianMixture full(at::ones({3}), means, at::eye(4, at::kDouble) * deviations.square().view({3, 1, 1}));
  EXPECT_TRUE(at::allclose(round.energy(x), full.energy(x), 1e-10, 1e-10));
  EXPECT_TRUE(at::allclose(round.energy_and_gradient(x).gradient, full.energy_and_gradient(x).gradient, 1e-10, 1e-10));
}

// Far from every component all densities underflow; energy and gradient must not.
TEST(Analytic, MixtureFarAwayIsFinite) {
  const auto [e, g] = mixture.energy_and_gradient(at::full({1, 2}, 1000.0, at::kFloat));
  EXPECT_TRUE(e.isfinite().all().item<bool>());
  EXPECT_NEAR(g[0][1].item<double>(), 1000 / 0.64, 1);
}

// First and second moments of 10^5 exact samples in units of their standard errors, |z| < 4.5: a mean wrong by 2 % of
// a standard deviation is found with probability above 0.95.
void expect_moments(const at::Tensor& sample, const at::Tensor& mean, const at::Tensor& covariance_of) {
  const auto n = static_cast<double>(sample.size(0));
  const at::Tensor d = sample - mean;
  const at::Tensor z = d.mean(0) / (d.var(0) / n).sqrt();
  EXPECT_LT(z.abs().max().item<double>(), 4.5);
  const at::Tensor products = d.unsqueeze(2) * d.unsqueeze(1);
  const at::Tensor zz = (products.mean(0) - covariance_of) / (products.var(0) / n).sqrt();
  EXPECT_LT(zz.abs().max().item<double>(), 4.5);
}

TEST(Analytic, SamplesHaveTheMoments) {
  expect_moments(gaussian.sample(100000, 1), at::tensor({0.3, -0.2}, at::kDouble), covariance);
  const at::Tensor w = at::tensor({2.0, 1.0}, at::kDouble) / 3;
  const at::Tensor means = at::tensor({-1.0, 0.5, 1.0, 0.0}, at::kDouble).reshape({2, 2});
  const at::Tensor mean = at::matmul(w, means), apart = means - mean;
  const at::Tensor spread = (w.view({2, 1, 1}) * (covariances + apart.unsqueeze(2) * apart.unsqueeze(1))).sum(0);
  expect_moments(oval.sample(100000, 2), mean, spread);
  // x2 = n + b (x1^2 - a^2): mean 0, variance 1 + 2 b^2 a^4.
  expect_moments(Banana(1.2, 0.7).sample(100000, 3), at::zeros({2}, at::kDouble),
                 at::diag(at::tensor({1.44, 1 + 2 * 0.49 * 1.44 * 1.44}, at::kDouble)));
}

TEST(Analytic, ASampleIsTheSameInAnyNumber) {
  EXPECT_TRUE(at::equal(oval.sample(50, 9), oval.sample(80, 9).slice(0, 0, 50)));
  EXPECT_FALSE(at::equal(oval.sample(50, 9), oval.sample(50, 10)));
}

TEST(Analytic, FloatAndDoubleAgree) {
  const at::Tensor x = points(20, 2);
  const auto single = mixture.energy_and_gradient(x.to(at::kFloat));
  EXPECT_EQ(single.gradient.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(single.gradient.to(at::kDouble), mixture.energy_and_gradient(x).gradient, 1e-4, 1e-4));
}

TEST(Analytic, BadArgumentsAreNamed) {
  EXPECT_THROW(Gaussian(at::zeros({2}), at::eye(3)), UserError);
  EXPECT_THROW(Gaussian(at::zeros({2}), at::eye(2) * -1), UserError);
  EXPECT_THROW(GaussianMixture(at::tensor({1.0, -1.0}), at::zeros({2, 2}), at::ones({2})), UserError);
  EXPECT_THROW(GaussianMixture(at::ones({2}), at::zeros({2, 2}), at::stack({at::eye(2), -at::eye(2)})), UserError);
  EXPECT_THROW(Rings({1.0}, 0.1).energy(points(3, 3)), UserError);
  EXPECT_THROW(DoubleWell(3, 1.0).energy_and_gradient(points(3, 2)), UserError);
  EXPECT_THROW(gaussian.energy(at::zeros({2, 2}, at::kLong)), UserError);
}

TEST(Compose, ProductOfGaussiansIsTheirGaussian) {
  const auto a = std::make_shared<Gaussian>(at::tensor({1.0, 0.0}), at::eye(2) * 0.5);
  const auto b = std::make_shared<Gaussian>(at::tensor({-1.0, 2.0}), at::eye(2) * 2.0);
  // Precisions add: 2 + 0.5; the mean is weighted by them.
  const Gaussian product((at::tensor({1.0, 0.0}) * 2 + at::tensor({-1.0, 2.0}) * 0.5) / 2.5, at::eye(2) / 2.5);
  const at::Tensor x = points(30, 2);
  const Sum sum({a, b});
  EXPECT_TRUE(at::allclose(sum.energy_and_gradient(x).gradient, product.energy_and_gradient(x).gradient, 1e-6, 1e-6));
  const at::Tensor apart = sum.energy(x) - product.energy(x);
  EXPECT_LT((apart - apart.mean()).abs().max().item<double>(), 1e-6);  // equal up to a constant
}

TEST(Compose, MixtureOfGaussiansIsTheirMixture) {
  const auto part = [](double mx, double my, double std, double weight) {
    const auto g = std::make_shared<Gaussian>(at::tensor({mx, my}, at::kDouble), at::eye(2) * std * std);
    return std::pair<EnergyPtr, double>{g, weight / std::exp(g->log_z())};
  };
  const auto [a, wa] = part(-1, 0.5, 0.5, 0.25);
  const auto [b, wb] = part(1, 0, 0.8, 0.75);
  const Mixture composed({a, b}, {wa, wb});
  const at::Tensor x = points(30, 2);
  EXPECT_TRUE(at::allclose(composed.energy(x), mixture.energy(x), 1e-6, 1e-6));
  EXPECT_TRUE(
      at::allclose(composed.energy_and_gradient(x).gradient, mixture.energy_and_gradient(x).gradient, 1e-6, 1e-6));
}

TEST(Compose, FormulasHold) {
  const auto a = std::make_shared<Banana>(1.0, 0.5);
  const auto b = std::make_shared<DoubleWell>(2, 1.0);
  const at::Tensor x = points(30, 2), ea = a->energy(x), eb = b->energy(x);
  const auto equal = [&](const Energy& e, const at::Tensor& expected) {
    return at::allclose(e.energy(x), expected, 1e-12, 1e-12);
  };
  EXPECT_TRUE(equal(Sum({a, b}, {0.7, -0.2}), 0.7 * ea - 0.2 * eb));
  EXPECT_TRUE(equal(*negation(a), -ea));
  EXPECT_TRUE(equal(*tempered(a, 2.5), ea / 2.5));
  EXPECT_TRUE(equal(*rescaled(a, 1, 0.4), ea / 2.5));
  EXPECT_TRUE(at::allclose(rescaled(a, 0.5, 3)->energy(x), 3 * a->energy(0.5 * x)));
  EXPECT_TRUE(equal(*beside_gaussian(a, 3, 0.7), ea + 1.5 * x.square().sum(1) + 0.7));
  EXPECT_TRUE(equal(Mixture({a, b}, {0.3, 2.0}), -(0.3 * (-ea).exp() + 2 * (-eb).exp()).log()));
}

/// Its own gradient is wrong on purpose, to be told apart from autograd's.
class Marked : public Energy {
 public:
  at::Tensor energy(const at::Tensor& x) const override { return x.flatten(1).square().sum(1); }
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override { return {energy(x), at::ones_like(x)}; }
};

TEST(Compose, GradientsAreThePartsOwn) {
  const auto part = std::make_shared<Marked>();
  const at::Tensor x = points(6, 4).view({6, 1, 2, 2});  // pictures too
  const at::Tensor ones = at::ones_like(x);
  EXPECT_TRUE(at::allclose(Sum({part, part}, {1.0, 2.0}).energy_and_gradient(x).gradient, 3 * ones));
  EXPECT_TRUE(at::allclose(Mixture({part, tempered(part, 2)}).energy_and_gradient(x).gradient.clamp(0.5, 1),
                           Mixture({part, tempered(part, 2)}).energy_and_gradient(x).gradient));
  EXPECT_TRUE(at::allclose(negation(part)->energy_and_gradient(x).gradient, -ones));
  EXPECT_TRUE(at::allclose(rescaled(part, 0.5, 3)->energy_and_gradient(x).gradient, 1.5 * ones));
  EXPECT_TRUE(at::allclose(beside_gaussian(part, 3)->energy_and_gradient(x).gradient, 3 * x + ones));
}

TEST(Compose, MasksConditionOnWhatIsFixed) {
  // x2 given x1 = 1 under a Gaussian of correlation 0.6: mean 0.6, variance 1 - 0.36.
  const auto joint = std::make_shared<Gaussian>(at::zeros({2}, at::kDouble),
                                                at::tensor({1.0, 0.6, 0.6, 1.0}, at::kDouble).view({2, 2}));
  const Masked given(joint, at::tensor({0, 1}), at::tensor({1.0, -7.0}, at::kDouble));
  const at::Tensor x = points(30, 2);
  expect_gradient(given, x);
  const auto [e, g] = given.energy_and_gradient(x);
  EXPECT_TRUE(at::allclose(g.select(1, 1), (x.select(1, 1) - 0.6) / 0.64));
  EXPECT_EQ(g.select(1, 0).abs().max().item<double>(), 0);
  EXPECT_TRUE(at::allclose(e, given.energy(x)));
  EXPECT_THROW(Masked(joint, at::ones({3}), at::zeros({2})), UserError);
}

TEST(Compose, GradientsAgreeWithFiniteDifferences) {
  const auto a = std::make_shared<Banana>(1.0, 0.5);
  const auto b = std::make_shared<DoubleWell>(2, 1.0);
  const at::Tensor x = points(30, 2);
  expect_gradient(Sum({a, b}, {0.7, -0.2}), x);
  expect_gradient(Mixture({a, b}, {0.3, 2.0}), x);
  expect_gradient(*negation(a), x);
  expect_gradient(*tempered(a, 2.5), x);
  expect_gradient(*rescaled(a, 0.5, 3), x);
  expect_gradient(*beside_gaussian(b, 3, 0.7), x);
  expect_gradient(Mixture({std::make_shared<Sum>(std::vector<EnergyPtr>{a, b}), tempered(b, 0.5)}), x);
}

std::pair<std::string, EnergyPtr> named(const char* name, EnergyPtr e) { return {name, std::move(e)}; }

/// Of parts for the plane, of each kind and within one another.
std::vector<std::pair<std::string, EnergyPtr>> compositions(const EnergyPtr& a, const EnergyPtr& b) {
  const std::vector<EnergyPtr> parts = {a, b};
  const auto masked = std::make_shared<Masked>(a, at::tensor({0, 1}), at::tensor({0.4, 0.0}, at::kDouble));
  return {named("sum", std::make_shared<Sum>(parts, std::vector<double>{0.7, -0.2})),
          named("mixture", std::make_shared<Mixture>(parts, std::vector<double>{0.3, 2.0})),
          named("masked", masked),
          named("rescaled", rescaled(a, 0.5, 3)),
          named("beside a Gaussian", beside_gaussian(a, 0.6, -1)),
          named("tempered", tempered(b, 2.5)),
          named("nested", std::make_shared<Mixture>(
                              std::vector<EnergyPtr>{std::make_shared<Sum>(std::vector<EnergyPtr>{masked, b}),
                                                     rescaled(negation(negation(b)), 0.9, 1)}))};
}

TEST(Compose, HessiansAreDifferencesOfGradients) {
  const auto a = std::make_shared<Banana>(1.0, 0.5);
  const auto b = std::make_shared<DoubleWell>(2, 1.0);
  const at::Tensor x = points(30, 2);
  for (const Energy* e : std::initializer_list<const Energy*>{&gaussian, &mixture, a.get(), b.get()})
    expect_hessian(*e, x);
  for (const auto& [name, e] : compositions(a, b)) {
    SCOPED_TRACE(name);
    expect_hessian(*e, x);
  }
  expect_hessian(*rescaled(a, 0.5, 3, 0.3), x);
  const at::Tensor v = points(30, 2, 2);
  EXPECT_TRUE(at::allclose(gaussian.hessian_product(x, v), at::mm(v, covariance.inverse()), 1e-9, 1e-9));
}

/// Nothing but the two virtuals.
class Bare : public Energy {
 public:
  at::Tensor energy(const at::Tensor& x) const override { return x.flatten(1).square().sum(1); }
};

/// A recordable Bare.
class Recorded : public Bare, public Recordable {
 public:
  Recordings* recordings() const override { return &kept_; }

 private:
  mutable Recordings kept_;
};

TEST(Capabilities, CompositionsHaveWhatAllTheirPartsHave) {
  const auto bare = std::make_shared<Bare>();
  const auto recorded = std::make_shared<Recorded>();
  const auto looped = std::make_shared<Banana>(1.0, 0.5);
  for (const auto& [name, e] : compositions(looped, std::make_shared<DoubleWell>(2, 1.0))) {
    EXPECT_NE(plain_loop(*e, 2), nullptr) << name;
    EXPECT_EQ(plain_loop(*e, 3), nullptr) << name;
    EXPECT_EQ(recordings(*e), nullptr) << name;
  }
  for (const auto& [name, e] : compositions(recorded, recorded)) {
    EXPECT_EQ(plain_loop(*e, 2), nullptr) << name;
    EXPECT_NE(recordings(*e), nullptr) << name;
    EXPECT_NE(recordings(*e), recordings(*recorded)) << name;  // a composition's operations are not its part's
    EXPECT_EQ(recordings(*e), recordings(*e)) << name;
  }
  EXPECT_EQ(recordings(*bare), nullptr);
  EXPECT_EQ(plain_loop(*bare, 2), nullptr);
  EXPECT_EQ(plain_loop(Sum({looped, bare}), 2), nullptr);
  EXPECT_EQ(plain_loop(Mixture({bare, looped}), 2), nullptr);
  EXPECT_EQ(recordings(Sum({recorded, bare})), nullptr);
  EXPECT_EQ(recordings(Mixture({bare, recorded})), nullptr);
  // Chains with masks of their own: a loop knows no chains.
  EXPECT_EQ(plain_loop(Masked(looped, at::ones({4, 2}), at::zeros({2})), 2), nullptr);
}

TEST(Capabilities, InPlaceIsTheSameBitForBitInTheSameMemory) {
  const auto banana = std::make_shared<Banana>(1.0, 0.5);
  for (const auto& [name, e] : compositions(banana, std::make_shared<Bare>())) {
    EnergyAndGradient out;
    energy_and_gradient_into(*e, points(30, 2, 2).to(at::kFloat), out);
    const void *energy = out.energy.data_ptr(), *gradient = out.gradient.data_ptr();
    for (const std::int64_t count : {30, 7}) {
      const at::Tensor x = points(count, 2, 3).to(at::kFloat);
      energy_and_gradient_into(*e, x, out);
      const auto expected = e->energy_and_gradient(x);
      EXPECT_TRUE(at::equal(out.energy, expected.energy)) << name;
      EXPECT_TRUE(at::equal(out.gradient, expected.gradient)) << name;
      if (count == 30) {
        EXPECT_EQ(out.energy.data_ptr(), energy) << name;
        EXPECT_EQ(out.gradient.data_ptr(), gradient) << name;
      }
    }
    const at::Tensor x = points(7, 2);  // another type, in which it stays
    energy_and_gradient_into(*e, x, out);
    EXPECT_EQ(out.gradient.scalar_type(), at::kDouble) << name;
    EXPECT_TRUE(at::equal(out.gradient, e->energy_and_gradient(x).gradient)) << name;
  }
}

// A part that gives out what it keeps finds it unchanged.
TEST(Capabilities, InPlaceChangesNothingOfAParts) {
  class Keeps : public Bare {
   public:
    EnergyAndGradient energy_and_gradient(const at::Tensor& /*x*/) const override { return kept; }
    EnergyAndGradient kept = {at::ones({4}), at::ones({4, 2})};
  };
  const auto part = std::make_shared<Keeps>();
  for (const auto& [name, e] : compositions(part, part)) {
    EnergyAndGradient out;
    for (int i = 0; i < 3; ++i) energy_and_gradient_into(*e, points(4, 2).to(at::kFloat), out);
    EXPECT_TRUE(at::equal(part->kept.energy, at::ones({4}))) << name;
    EXPECT_TRUE(at::equal(part->kept.gradient, at::ones({4, 2}))) << name;
  }
}

TEST(Capabilities, LoopsAgreeWithTensorsAndASumIsItsPartsBitForBit) {
  const auto a = std::make_shared<Banana>(1.0, 0.5);
  const auto b = std::make_shared<DoubleWell>(2, 1.0);
  const at::Tensor x = points(37, 2).to(at::kFloat);
  const auto looped = [&](const Energy& e) {
    EnergyAndGradient out{at::empty({37}), at::empty({37, 2})};
    plain_loop(e, 2)->evaluate(x.const_data_ptr<float>(), 37, 2, out.energy.data_ptr<float>(),
                               out.gradient.data_ptr<float>());
    return out;
  };
  for (const auto& [name, e] : compositions(a, b)) {
    const auto loop = looped(*e), tensors = e->energy_and_gradient(x);
    EXPECT_TRUE(at::allclose(loop.energy, tensors.energy, 1e-5, 1e-5)) << name;
    EXPECT_TRUE(at::allclose(loop.gradient, tensors.gradient, 1e-5, 1e-5)) << name;
  }
  const auto sum = looped(Sum({a, b}, {2.0, -0.5})), of_a = looped(*a), of_b = looped(*b);
  EXPECT_TRUE(at::equal(sum.energy, 2 * of_a.energy - 0.5 * of_b.energy));
  EXPECT_TRUE(at::equal(sum.gradient, 2 * of_a.gradient - 0.5 * of_b.gradient));
}

TEST(Capabilities, SeveralThreadsAtOnceGetWhatOneGets) {
  const at::Tensor x = points(200, 2).to(at::kFloat);
  for (const auto& [name, e] : compositions(std::make_shared<Banana>(1.0, 0.5), std::make_shared<DoubleWell>(2, 1.0))) {
    const auto expected = e->energy_and_gradient(x).gradient;
    std::atomic<int> wrong = 0;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, energy = e] {
          for (int i = 0; i < 20; ++i) wrong += at::equal(energy->energy_and_gradient(x).gradient, expected) ? 0 : 1;
        });
      }
    }
    EXPECT_EQ(wrong, 0) << name;
  }
}

TEST(Compose, BadArgumentsAreNamed) {
  const auto a = std::make_shared<Banana>(1.0, 0.5);
  EXPECT_THROW(Sum({}), UserError);
  EXPECT_THROW(Sum({a}, {1.0, 2.0}), UserError);
  EXPECT_THROW(Mixture({a}, {0.0}), UserError);
  EXPECT_THROW(tempered(a, 0), UserError);
  EXPECT_THROW(Masked(a, at::ones({2}), at::zeros({2}, at::Device("meta"))), UserError);
  EXPECT_THROW(Masked(a, at::ones({2}), at::zeros({2})).energy(at::zeros({3, 2}, at::Device("meta"))), UserError);
}

}  // namespace
}  // namespace igebm::energy
