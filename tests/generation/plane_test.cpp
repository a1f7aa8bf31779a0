#include "igebm/generation/plane.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/refusals.h"

namespace igebm::generation {
namespace {

struct Case {
  const char* name;
  std::vector<double> numbers;
};
const std::vector<Case> cases = {{"gaussian", {0.3, -0.2, 0.4}}, {"ring", {1.2, 0.1}}, {"box", {-1, -0.5, 0.5, 1.5}}};

const PlaneDensity& density_of(const char* name) {
  for (const auto& d : plane_densities()) {
    if (d.name == name) return d;
  }
  throw std::runtime_error(name);
}

/// Centres of cells of [-bound, bound]^2, double.
at::Tensor cells(double bound, std::int64_t side) {
  const at::Tensor axis = (at::arange(side, at::kDouble) + 0.5) * (2 * bound / static_cast<double>(side)) - bound;
  return at::stack({axis.repeat({side}), axis.repeat_interleave(side)}, 1);
}

TEST(PlaneDensities, IntegrateToOneAtAnyNoise) {
  for (const auto& [name, numbers] : cases) {
    for (const double sigma : {0.02, 0.3, 1.0, 10.0}) {
      const double bound = 3 + 6 * sigma, cell = 2 * bound / 1500;
      const at::Tensor e = density_of(name).make(numbers, sigma)->energy(cells(bound, 1500));
      EXPECT_NEAR(at::exp(-e).sum().item<double>() * cell * cell, 1, 2e-4) << name << " " << sigma;
    }
  }
}

// The density at sigma is the mean over noise of that with less: 400,000 normal numbers, standard error below 0.5 %.
TEST(PlaneDensities, NoiseBlursThem) {
  at::manual_seed(7);
  const at::Tensor noise = at::randn({400000, 2}, at::kDouble);
  const double less = 0.2, more = 0.6, added = std::sqrt(more * more - less * less);
  for (const auto& [name, numbers] : cases) {
    for (const auto& [x, y] : {std::pair{0.4, 0.1}, {1.0, -0.9}, {-1.3, 0.8}}) {
      const at::Tensor at = at::tensor({x, y}).unsqueeze(0);
      const auto& d = density_of(name);
      const double blurred = at::exp(-d.make(numbers, less)->energy(at + added * noise)).mean().item<double>();
      EXPECT_NEAR(std::exp(-d.make(numbers, more)->energy(at).item<double>()) / blurred, 1, 0.025) << name;
    }
  }
}

TEST(PlaneDensities, GradientsAreFiniteDifferences) {
  const double h = 1e-5;
  // Far away, too, where a box's edges are many deviations off.
  const at::Tensor points = at::tensor({0.0, 0.0, 0.4, 0.1, -1.3, 2.8, 40.0, -30.0, 3.0, -0.3}).reshape({5, 2});
  for (const auto& [name, numbers] : cases) {
    for (const double sigma : {0.1, 2.0}) {
      const auto energy = density_of(name).make(numbers, sigma);
      const at::Tensor gradient = energy->energy_and_gradient(points).gradient;
      EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name << gradient;
      for (std::int64_t k = 0; k < 2; ++k) {
        at::Tensor step = at::zeros({1, 2}, at::kDouble);
        step[0][k] = h;
        const at::Tensor slope = (energy->energy(points + step) - energy->energy(points - step)) / (2 * h);
        EXPECT_TRUE(at::allclose(gradient.select(1, k), slope, 1e-5, 1e-5)) << name << gradient << slope;
      }
    }
  }
  const auto in_floats = density_of("box").make(cases[2].numbers, 0.01)->energy_and_gradient(points.to(at::kFloat));
  EXPECT_TRUE(in_floats.gradient.isfinite().all().item<bool>());
}

TEST(PlaneDensities, NumbersOutOfRangeAreRefused) {
  EXPECT_EQ(error_of([] { blurred_gaussian(0, 0, 0, 1); }), "gaussian: expected a deviation above 0");
  EXPECT_EQ(error_of([] { blurred_ring(1, -1, 1); }), "ring: expected a radius and a width above 0");
  EXPECT_NE(error_of([] { blurred_box(0, 1, 1, 1, 1); }).find("box: expected a left edge"), std::string::npos);
}

}  // namespace
}  // namespace igebm::generation
