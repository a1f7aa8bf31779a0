#include "igebm/evaluation/continual.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/evaluation/class_densities.h"
#include "igebm/evaluation/oriented_gradients.h"

namespace igebm::evaluation {
namespace {

TEST(Continual, AccuracyIsAmongTheClassesSeenSoFarAndWhatIsForgottenIsCounted) {
  const Tasks tasks = equal_tasks(4, 2);
  ASSERT_EQ(tasks, (Tasks{{0, 1}, {2, 3}}));
  const at::Tensor labels = at::tensor({0, 1, 2, 3}, at::kLong);
  // Of record 0, class 2 is likelier than its own; record 3 is taken for 2.
  const at::Tensor scores = at::tensor({2.0, 1.0, 3.0, 0.0,   //
                                        0.0, 1.0, -1.0, 0.0,  //
                                        0.0, 0.0, 5.0, 1.0,   //
                                        0.0, 0.0, 2.0, 1.0},
                                       at::kDouble)
                                .reshape({4, 4});
  const Continual c = continual({scores}, labels, tasks);
  EXPECT_EQ(c.accuracy[0][0].value, 1);  // classes 2 and 3 are not known yet
  EXPECT_EQ(c.accuracy[1][0].value, 0.5);
  EXPECT_EQ(c.accuracy[1][1].value, 0.5);
  EXPECT_EQ(c.overall[0].value, 1);
  EXPECT_EQ(c.overall[1].value, 0.5);
  EXPECT_EQ(c.forgotten, std::vector<double>{0.5});
  EXPECT_EQ(c.mean_forgotten(), 0.5);
  // Scores of their own after each task.
  const Continual kept = continual({scores, at::one_hot(labels, 4).to(at::kDouble)}, labels, tasks);
  EXPECT_EQ(kept.overall[1].value, 1);
  EXPECT_EQ(kept.forgotten, std::vector<double>{0});
}

TEST(Continual, WhatDoesNotFitIsRefused) {
  const at::Tensor labels = at::tensor({0, 1, 2}, at::kLong), scores = at::zeros({3, 3}, at::kDouble);
  EXPECT_THROW(continual({scores}, labels, {{0, 1}, {1, 2}}), UserError);  // a class of two tasks
  EXPECT_THROW(continual({scores}, labels, {{0, 3}}), UserError);
  EXPECT_THROW(continual({scores, scores}, labels, {{0}, {1}, {2}}), UserError);
  EXPECT_THROW(equal_tasks(4, 4), UserError);
}

/// Points of three classes: one of two far clusters, the others Gaussians.
struct Points {
  at::Tensor x, labels;
  explicit Points(std::int64_t count) {
    at::Generator generator = at::detail::createCPUGenerator(5);
    labels = at::arange(count, at::kLong).remainder(3);
    const at::Tensor side = at::arange(count).div(3, "floor").remainder(2).mul(2).sub(1).to(at::kFloat);
    x = at::randn({count, 2}, generator, at::kFloat) * 0.3;
    x.select(1, 0) += at::where(labels.eq(0), side * 2, 0);
    x.select(1, 1) += at::where(labels.eq(2), 3.0, 0.0).to(at::kFloat);
  }
};

TEST(ClassDensities, AGaussianIsThatOfItsMomentsAndMixturesFindClusters) {
  const Points train(3000), test(600);
  const auto one = gaussians(train.x, train.labels, 3, 1e-6);
  // Of class 1: log N(x; mean, covariance) but for -log 2 pi.
  const at::Tensor own = train.x.index_select(0, train.labels.eq(1).nonzero().squeeze(1)).to(at::kDouble),
                   centred = own - own.mean(0), covariance = at::matmul(centred.t(), centred) / own.size(0),
                   z = test.x.to(at::kDouble) - own.mean(0);
  const at::Tensor expected = -(at::matmul(z, at::linalg_inv(covariance)) * z).sum(1) / 2 - at::logdet(covariance) / 2;
  EXPECT_LT((one->of(test.x).select(1, 1) - expected).abs().max().item<double>(), 1e-3);
  const auto accuracy = [&](const ClassDensities& d) {
    return d.of(test.x).argmax(1).eq(test.labels).to(at::kDouble).mean().item<double>();
  };
  // Between its clusters class 0 has nothing, where one Gaussian thinks that it has most; there lies class 1.
  const auto mixture = analysers(train.x, train.labels, 3, {.parts = 2, .dimensions = 1, .rounds = 5, .floor = 1e-3});
  EXPECT_GT(accuracy(*mixture), 0.99);
  EXPECT_EQ(one->numbers(), 3 * (2 + 4 + 2 + 2));
}

TEST(ClassDensities, AMixtureIsADensity) {
  const Points train(900);
  const auto mixture = analysers(train.x, train.labels, 3, {.parts = 3, .dimensions = 1, .rounds = 3, .floor = 1e-2});
  // Its sum over a grid, with the constant that all classes share.
  const at::Tensor axis = at::arange(-6, 6, 0.02, at::kFloat);
  const auto grid = at::meshgrid({axis, axis}, "ij");
  const at::Tensor all = at::stack({grid[0].reshape({-1}), grid[1].reshape({-1})}, 1);
  const at::Tensor sums = mixture->of(all).exp().sum(0) * 0.02 * 0.02 / (2 * std::numbers::pi);
  for (int y = 0; y < 3; ++y) EXPECT_NEAR(sums[y].item<double>(), 1, 2e-3);
}

/// Bars of 20 x 20 pixels, upright or lying, at places of their own.
struct Bars {
  at::Tensor x, labels;
  Bars(std::int64_t count, std::int64_t place) {
    x = at::zeros({count, 1, 20, 20}, at::kByte);
    labels = at::arange(count, at::kLong).remainder(2);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = 2 + (place + 7 * i) % 13;
      const at::Tensor picture = x[i][0];
      (i % 2 == 0 ? picture.slice(0, at, at + 3) : picture.slice(1, at, at + 3)).fill_(200 + i % 50);
    }
  }
};

TEST(OrientedGradients, TurnWithThePictureAndTellDirections) {
  const at::Tensor x = Bars(2, 0).x.slice(0, 0, 1), f = oriented_gradients(x).view({9, 6, 6});
  // The picture turned by a quarter: every map turns, and becomes the map of the direction a quarter on.
  const at::Tensor turned = oriented_gradients(at::rot90(x, 1, {2, 3}).contiguous()).view({9, 6, 6});
  for (std::int64_t k = 0; k < 8; ++k) {
    // Pooling's places are 1, 5, ..., 21 of 20 pixels: not the same from the other side. Sums over them are, nearly.
    EXPECT_NEAR(turned[k].square().sum().item<double>(), f[(k + 2) % 8].square().sum().item<double>(),
                0.15 * f.square().sum().item<double>());
  }
  // A lying bar has edges up and down, directions 2 and 6, and hardly others.
  EXPECT_GT(f[2].sum().item<double>() + f[6].sum().item<double>(),
            3 * (f[0].sum().item<double>() + f[4].sum().item<double>()));
  // Floats in [0, 1] are the same picture.
  EXPECT_LT((oriented_gradients(x.to(at::kFloat) / 255) - f.flatten().unsqueeze(0)).abs().max().item<double>(), 1e-4);
  EXPECT_THROW(oriented_gradients(at::zeros({3, 2})), UserError);
}

TEST(ClassDensities, OrientedGaussiansTellBarsWhereverTheyAre) {
  const Bars train(400, 0), test(100, 3);
  const auto found = oriented_gaussians(train.x, train.labels, 2);
  EXPECT_GT(found->of(test.x).argmax(1).eq(test.labels).to(at::kDouble).mean().item<double>(), 0.99);
}

TEST(ClassDensities, AClassOfOneRecordIsRefused) {
  const at::Tensor x = at::zeros({3, 2}), labels = at::tensor({0, 0, 1}, at::kLong);
  EXPECT_THROW(gaussians(x, labels, 2), UserError);
}

}  // namespace
}  // namespace igebm::evaluation
