#include "igebm/classification/calibration.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/refusals.h"

namespace igebm::classification {
namespace {

/// Four pictures, two bins: (.9 right, .8 wrong) in the upper one, (.4 right, .45 wrong) in the lower one.
TEST(Calibration, ErrorByHand) {
  const at::Tensor p =
      at::tensor({0.9, 0.1, 0.0, 0.8, 0.1, 0.1, 0.4, 0.3, 0.3, 0.45, 0.4, 0.15}, at::kDouble).view({4, 3});
  const at::Tensor labels = at::tensor({0, 1, 0, 2}, at::kLong);
  EXPECT_NEAR(calibration_error(p, labels, 2), (std::fabs(1 - 1.7) + std::fabs(1 - 0.85)) / 4, 1e-12);
  EXPECT_NEAR(calibration_error(p, labels, 1000), (0.1 + 0.8 + 0.6 + 0.45) / 4, 1e-12);
}

TEST(Calibration, CrossEntropiesHoldWhereProbabilitiesRoundToOne) {
  const at::Tensor z = at::tensor({0.0, -1.0, -2.0, 100.0, 0.0, 1.0, 0.0, 900.0, -5.0}, at::kDouble).view({3, 3});
  const at::Tensor losses = cross_entropies(z, at::tensor({0, 0, 0}, at::kLong));
  EXPECT_NEAR(losses[0].item<double>(), std::log1p(std::exp(-1) + std::exp(-2)), 1e-14);
  EXPECT_NEAR(losses[1].item<double>() / (std::exp(-100) + std::exp(-99)), 1, 1e-12);
  EXPECT_NEAR(losses[2].item<double>(), 900, 1e-9);
}

/// Labels are drawn by known weights and offsets from energies that also hold what all classes share.
TEST(Calibration, FindsTemperatureAndOffsets) {
  at::manual_seed(2);
  const at::Tensor differences = 3 * at::randn({20000, 2, 4}, at::kDouble);
  const at::Tensor bias = at::tensor({0.8, -0.3, 0.1, -0.6}, at::kDouble);
  const at::Tensor logits = bias - (0.5 * differences.select(1, 0) + 0.1 * differences.select(1, 1));
  const at::Tensor labels = at::softmax(logits, 1).multinomial(1).squeeze(1);
  const at::Tensor shared = 1e4 * at::randn({20000, 2, 1}, at::kDouble);
  const Calibration fitted = calibrate(differences + shared, labels);
  EXPECT_NEAR(fitted.weights[0].item<double>(), 0.5, 0.03);
  EXPECT_NEAR(fitted.weights[1].item<double>(), 0.1, 0.03);
  EXPECT_LT((fitted.bias - bias).abs().max().item<double>(), 0.06);
  const Calibration alone = calibrate(differences.narrow(1, 0, 1), labels, /*offsets=*/false);
  EXPECT_FALSE(alone.bias.defined());
  EXPECT_NEAR(alone.weights[0].item<double>(), 0.5, 0.1);
  const at::Tensor p = at::softmax(fitted.logits(differences), 1);
  EXPECT_LT(calibration_error(p, labels), 0.015);
}

TEST(Calibration, StaysFiniteWhereClassesAreToldWithoutError) {
  const at::Tensor labels = at::arange(50).remainder(2);
  const at::Tensor energies = (1 - at::one_hot(labels, 2)).to(at::kDouble).unsqueeze(1);
  const Calibration fitted = calibrate(energies, labels);
  EXPECT_TRUE(fitted.weights.isfinite().all().item<bool>());
  EXPECT_LT(fitted.weights.item<double>(), 100);
  EXPECT_GT(fitted.weights.item<double>(), 3);
}

TEST(Calibration, WilsonsInterval) {
  // Newcombe 1998, table I: 15 of 148, and 0 of 20.
  const scoring::Interval some = fraction_right(15, 148), none = fraction_right(0, 20);
  EXPECT_NEAR(some.low, 0.0624, 5e-5);
  EXPECT_NEAR(some.high, 0.1605, 5e-5);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.1611, 5e-5);
  EXPECT_SAYS(fraction_right(3, 2), "3 among 2");
}

}  // namespace
}  // namespace igebm::classification
