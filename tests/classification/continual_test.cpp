#include "igebm/classification/continual.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/classification/class_densities.h"
#include "igebm/classification/oriented_energies.h"
#include "igebm/evaluation/oriented_gradients.h"

namespace igebm::classification {
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

TEST(ClassDensities, AnalysersOfManyElementsHaveTheLeadingDirections) {
  // 400 elements, three directions that vary by more than all others: density of the known law.
  constexpr std::int64_t count = 4000, size = 400;
  at::Tensor normals = at::empty({count, size + 3}, at::kFloat);
  random_normal({5, Purpose::data_order, 0, 0}, {normals.data_ptr<float>(), static_cast<std::size_t>(normals.numel())});
  const at::Tensor axes = at::zeros({3, size}, at::kFloat);
  for (std::int64_t i = 0; i < 3; ++i) axes[i].slice(0, 100 * i, 100 * (i + 1)).fill_(0.1);  // of length 1
  const at::Tensor deviations = at::tensor({2.0F, 1.0F, 0.7F}), one = 0.3 * normals.slice(1, 0, size);
  const at::Tensor x = one + at::matmul(normals.slice(1, size) * deviations, axes),
                   labels = at::zeros({count}, at::kLong);
  const auto found = analysers(x, labels, 1, {.parts = 1, .dimensions = 3, .rounds = 1, .floor = 0});
  const at::Tensor covariance = at::matmul(axes.t() * deviations.square(), axes).to(at::kDouble) +
                                0.09 * at::eye(size, at::kDouble),
                   z = x.slice(0, 0, 500).to(at::kDouble);
  const at::Tensor expected = -(at::matmul(z, at::linalg_inv(covariance)) * z).sum(1) / 2 - at::logdet(covariance) / 2;
  // A fitted law of about 1,600 numbers is above the true one of its own records by half of that over their count.
  EXPECT_NEAR((found->of(x.slice(0, 0, 500)).select(1, 0) - expected).mean().item<double>(), 0.2, 0.15);
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
  const at::Tensor x = Bars(2, 0).x.slice(0, 0, 1), f = evaluation::oriented_gradients(x).view({9, 6, 6});
  // The picture turned by a quarter: every map turns, and becomes the map of the direction a quarter on.
  const at::Tensor turned = evaluation::oriented_gradients(at::rot90(x, 1, {2, 3}).contiguous()).view({9, 6, 6});
  for (std::int64_t k = 0; k < 8; ++k) {
    // Pooling's places are 1, 5, ..., 21 of 20 pixels: not the same from the other side. Sums over them are, nearly.
    EXPECT_NEAR(turned[k].square().sum().item<double>(), f[(k + 2) % 8].square().sum().item<double>(),
                0.15 * f.square().sum().item<double>());
  }
  // A lying bar has edges up and down, directions 2 and 6, and hardly others.
  EXPECT_GT(f[2].sum().item<double>() + f[6].sum().item<double>(),
            3 * (f[0].sum().item<double>() + f[4].sum().item<double>()));
  // Floats in [0, 1] are the same picture.
  EXPECT_LT(
      (evaluation::oriented_gradients(x.to(at::kFloat) / 255) - f.flatten().unsqueeze(0)).abs().max().item<double>(),
      1e-4);
  EXPECT_THROW(evaluation::oriented_gradients(at::zeros({3, 2})), UserError);
}

TEST(OrientedEnergies, TellBarsWhereverTheyAre) {
  const Bars train(400, 0), test(100, 3);
  OrientedEnergies found(2);
  found.learn(train.x, train.labels);
  EXPECT_GT(found.log_densities(test.x).argmax(1).eq(test.labels).to(at::kDouble).mean().item<double>(), 0.99);
}

TEST(OrientedEnergies, AreGaussiansOfOwnAndSharedCovariance) {
  const Bars train(300, 0), test(20, 1);
  const OrientedEnergyOptions options{.shared = 0.7, .ridge = 0.1};
  OrientedEnergies found(3, options);  // class 2 is never learned
  found.learn(train.x, train.labels);
  const at::Tensor scores = found.log_densities(test.x), f = evaluation::oriented_gradients(test.x).to(at::kDouble);
  const auto of_class = [&](std::int64_t y) {
    return evaluation::oriented_gradients(train.x.index_select(0, train.labels.eq(y).nonzero().squeeze(1)))
        .to(at::kDouble);
  };
  const at::Tensor first = of_class(0).t().cov(0), second = of_class(1).t().cov(0), mean = (first + second) / 2;
  const std::vector<at::Tensor> own = {first, second};
  for (std::int64_t y = 0; y < 2; ++y) {
    at::Tensor c = 0.3 * own[static_cast<std::size_t>(y)] + 0.7 * mean;
    c = c + 0.1 * c.diagonal().mean() * at::eye(c.size(0), at::kDouble);
    const at::Tensor d = f - of_class(y).mean(0);
    const at::Tensor expected = -(at::matmul(d, at::linalg_inv(c)) * d).sum(1) / 2 - at::logdet(c) / 2;
    EXPECT_LT((scores.select(1, y) - expected).abs().max().item<double>(), 1e-6 * expected.abs().max().item<double>());
  }
  EXPECT_TRUE(scores.select(1, 2).isneginf().all().item<bool>());
}

TEST(OrientedEnergies, LearnAClassOnceAndInAnyOrder) {
  const Bars train(200, 0), test(20, 1);
  const at::Tensor first = train.labels.eq(0).nonzero().squeeze(1), second = train.labels.eq(1).nonzero().squeeze(1);
  OrientedEnergies together(2), backwards(2);
  together.learn(train.x, train.labels);
  for (const at::Tensor& rows : {second, first})
    backwards.learn(train.x.index_select(0, rows), train.labels.index_select(0, rows));
  EXPECT_TRUE(at::allclose(together.log_densities(test.x), backwards.log_densities(test.x)));
  EXPECT_THROW(together.learn(train.x, train.labels), UserError);
  OrientedEnergies none(2);
  EXPECT_THROW(none.learn(train.x.slice(0, 0, 1), train.labels.slice(0, 0, 1)), UserError);
}

TEST(ClassDensities, AClassOfOneRecordIsRefused) {
  const at::Tensor x = at::zeros({3, 2}), labels = at::tensor({0, 0, 1}, at::kLong);
  EXPECT_THROW(gaussians(x, labels, 2), UserError);
}

}  // namespace
}  // namespace igebm::classification
