#include "igebm/generation/normaliser.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/generation/plane.h"

namespace igebm::generation {
namespace {

/// What a network's energy has too much of: a number at each noise level.
double offset(double sigma) { return 3 - 2 * std::log(sigma) + std::sin(3 * std::log(sigma)); }

/// -log of two blurred clusters in `elements` dimensions, 80 % and 20 %, and the offset.
EnergyAt clusters(std::int64_t elements) {
  return [elements](double sigma) {
    const at::Tensor means =
        at::stack({at::full({elements}, 1.0, at::kDouble), at::full({elements}, -1.0, at::kDouble)});
    return energy::beside_gaussian(
        std::make_shared<energy::GaussianMixture>(at::tensor({0.8, 0.2}), means,
                                                  at::full({2}, std::hypot(0.3, sigma), at::kDouble)),
        0, offset(sigma));
  };
}

// log Z = -offset, at every level. Deviations are what it says of itself; 4 of them, and what is not chance: the
// trapezoidal rule, and that the law at the greatest noise is not quite a Gaussian.
TEST(Normalisers, OfSamplesTakeTheOffsetAway) {
  for (const std::int64_t elements : {2, 60}) {
    const at::Tensor means =
        at::stack({at::full({elements}, 1.0, at::kDouble), at::full({elements}, -1.0, at::kDouble)});
    const at::Tensor x = energy::GaussianMixture(at::tensor({0.8, 0.2}), means, at::full({2}, 0.3, at::kDouble))
                             .sample(500, 3)
                             .to(at::kFloat);
    const Normaliser n = normaliser_of_samples(clusters(elements), {0.05, 30}, x, 60, 1);
    EXPECT_LT(n.deviation, 0.3) << elements;
    for (const double sigma : {30.0, 3.0, 0.4, 0.05})
      EXPECT_NEAR(n.at(sigma), -offset(sigma), 4 * n.deviation + 0.05) << elements << " " << sigma;
    EXPECT_NEAR(log_z_of_gaussian(*clusters(elements)(30), 30, x, 1), n.log_z.front(), 1e-9);
  }
}

// The product of a ring and a Gaussian, by quadrature.
TEST(Normalisers, OfChainsAreAProductsIntegral) {
  const EnergyAt product = [](double sigma) {
    return std::make_shared<energy::Sum>(
        std::vector{blurred_ring(1, 0.2, sigma), blurred_gaussian(0.5, 0, 0.6, sigma)});
  };
  const Normaliser n = normaliser_of_chains(product, {0.05, 10, 2}, {2}, 3000, 40, 10, 1);
  EXPECT_LT(n.deviation, 0.04);
  const double cell = 0.02;
  const at::Tensor axis = at::arange(-200, 201, at::kDouble) * cell;
  const at::Tensor grid = at::stack({axis.repeat({401}), axis.repeat_interleave(401)}, 1);
  for (const double sigma : {0.05, 0.3}) {
    const double z = at::exp(-product(sigma)->energy(grid)).sum().item<double>() * cell * cell;
    EXPECT_NEAR(n.at(sigma), std::log(z), 4 * n.deviation + 0.03) << sigma;
  }
}

TEST(Normalisers, AreStraightBetweenLevels) {
  const Normaliser n{.log_sigma = {2, 0, -1}, .log_z = {1, 5, 3}};
  EXPECT_DOUBLE_EQ(n.at(std::exp(3)), 1);
  EXPECT_DOUBLE_EQ(n.at(std::exp(1)), 3);
  EXPECT_DOUBLE_EQ(n.at(std::exp(-0.5)), 4);
  EXPECT_DOUBLE_EQ(n.at(std::exp(-9)), 3);
}

}  // namespace
}  // namespace igebm::generation
