#include "igebm/nn/conditions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"

namespace igebm::nn {
namespace {

TEST(NoiseFeatures, AreTheDocumentedOnes) {
  const at::Tensor sigma = at::tensor({0.002, 1.0, 80.0}, at::kDouble), f = noise_features(sigma, 6);
  EXPECT_EQ(f.scalar_type(), at::kFloat);
  const double frequencies[] = {0.25, 2, 16};  // evenly spaced in log: factors of 8
  for (int n = 0; n < 3; ++n) {
    for (int i = 0; i < 3; ++i) {
      const double angle = frequencies[i] * std::log(sigma[n].item<double>());
      EXPECT_NEAR(f[n][i].item<double>(), std::cos(angle), 1e-6);
      EXPECT_NEAR(f[n][i + 3].item<double>(), std::sin(angle), 1e-6);
    }
  }
  EXPECT_TRUE(at::allclose(noise_features(sigma.to(at::kFloat), 6), f, 0, 1e-5));
  EXPECT_NEAR(noise_features(at::tensor({2.0}), 2)[0][1].item<double>(), std::sin(0.25 * std::log(2.0)), 1e-6);
}

TEST(NoiseFeatures, BadOnesAreRefused) {
  EXPECT_THROW(noise_features(at::tensor({1.0, 0.0}), 4), UserError);
  EXPECT_THROW(noise_features(at::tensor({NAN}), 4), UserError);
  EXPECT_THROW(noise_features(at::ones({2, 2}), 4), UserError);
  EXPECT_THROW(noise_features(at::ones({2}), 3), UserError);
  EXPECT_THROW(noise_features(at::ones({2}), 0), UserError);
}

TEST(ConditionRows, HoldTheClassThenTheNoise) {
  const Graph graph = mlp({{8}}, {2}, {.classes = 3, .noise_features = 4});
  EXPECT_EQ(graph.classes, 0);
  EXPECT_EQ(graph.conditions, 7);
  const at::Tensor sigma = at::tensor({0.1, 3.0}), labels = at::tensor({2, 0}, at::kLong);
  const at::Tensor rows = condition_rows(graph, labels, sigma);
  EXPECT_TRUE(at::equal(rows.slice(1, 0, 3), at::one_hot(labels, 3).to(at::kFloat)));
  EXPECT_TRUE(at::equal(rows.slice(1, 3), noise_features(sigma, 4)));
  EXPECT_NO_THROW(evaluate(graph, Network(graph, 1).effective_weights(), at::zeros({2, 2}), rows));
  EXPECT_THROW(condition_rows(graph, {}, sigma), UserError);
  EXPECT_THROW(condition_rows(graph, at::tensor({1}, at::kLong), sigma), UserError);
}

TEST(ConditionRows, HoldOtherConditionsOrNoneBeforeTheNoise) {
  const at::Tensor sigma = at::tensor({0.1, 3.0}), given = at::randn({2, 2});
  const Graph numbers = mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4});
  EXPECT_TRUE(at::equal(condition_rows(numbers, given, sigma), at::cat({given, noise_features(sigma, 4)}, 1)));
  EXPECT_THROW(condition_rows(numbers, at::randn({2, 3}), sigma), UserError);
  const Graph alone = mlp({{8}}, {2}, {.noise_features = 4});
  EXPECT_TRUE(at::equal(condition_rows(alone, {}, sigma), noise_features(sigma, 4)));
  // A network that takes no noise level gets its labels as they are.
  const Graph classes = mlp({{8}}, {2}, {.classes = 3});
  const at::Tensor labels = at::tensor({2, 0}, at::kLong);
  EXPECT_TRUE(condition_rows(classes, labels, sigma).is_same(labels));
}

TEST(ConditionRows, OfNoClassAreZerosWhereTheNetworkKnowsThem) {
  const Graph graph = mlp({{8}}, {2}, {.classes = 3, .noise_features = 4, .optional_condition = true});
  const at::Tensor sigma = at::tensor({0.1, 3.0}), mixed = at::tensor({no_class, std::int64_t{1}}, at::kLong);
  EXPECT_TRUE(at::equal(condition_rows(graph, mixed, sigma).slice(1, 0, 3),
                        at::tensor({0.0F, 0.0F, 0.0F, 0.0F, 1.0F, 0.0F}).view({2, 3})));
  EXPECT_TRUE(at::equal(labels(graph, {}, 3), at::full({3}, no_class, at::kLong)));
  EXPECT_TRUE(at::equal(labels(graph, {.classes = mixed}, 2), mixed));
  EXPECT_THROW(labels(graph, Condition::of_class(-2), 1), UserError);
  EXPECT_TRUE(graph_from_json(to_json(graph)).optional_condition);
  Graph bad = mlp({{8}}, {2}, {.classes = 2});
  bad.optional_condition = true;
  EXPECT_THROW(shapes(bad), UserError);
}

TEST(ConditionRows, NumbersThatAreNotToldAreZerosThatSaySo) {
  const Graph graph = mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4, .optional_condition = true});
  EXPECT_EQ(graph.conditions, 2 + 1 + 4);
  EXPECT_EQ(conditioning(graph).conditions, 2);
  const at::Tensor sigma = at::tensor({0.1, 3.0}), none = Condition::of_none(2).values;
  const at::Tensor mixed = at::cat({none, at::tensor({0.0F, 0.5F}).view({1, 2})});
  EXPECT_TRUE(at::equal(condition_rows(graph, mixed, sigma).slice(1, 0, 3),
                        at::tensor({0.0F, 0.0F, 0.0F, 0.0F, 0.5F, 1.0F}).view({2, 3})));
  EXPECT_TRUE(labels(graph, {}, 3).isnan().all().item<bool>());
  EXPECT_TRUE(untold(mixed).isnan().all().item<bool>());
  EXPECT_FALSE(Condition{.values = mixed}.told());
  EXPECT_TRUE((Condition{.values = mixed.slice(0, 1)}.told()));
  const Graph back = graph_from_json(to_json(graph)), always = mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4});
  EXPECT_TRUE(back.optional_condition);
  EXPECT_FALSE(graph_from_json(to_json(always)).optional_condition);
  EXPECT_THROW(labels(always, {.values = none}, 1), UserError);
  EXPECT_THROW(labels(always, {}, 1), UserError);
}

/// Of one number plain Fourier features; of an angle's cosine and sine what tells a few degrees, and half a turn,
/// apart.
TEST(NumberFeatures, AreFourierFeaturesAlongManyDirections) {
  const at::Tensor x = at::tensor({0.1, 0.7}, at::kDouble).view({2, 1}), f = number_features(x, 6);
  EXPECT_TRUE(at::allclose(f.slice(1, 0, 3).to(at::kDouble), (x * at::tensor({1.0, 4.0, 16.0}, at::kDouble)).cos()));
  EXPECT_TRUE(at::allclose(f.slice(1, 3).abs().to(at::kDouble),
                           (x * at::tensor({1.0, 4.0, 16.0}, at::kDouble)).sin().abs(), 1e-5, 1e-6));
  const at::Tensor turn = at::arange(0, 360, 5, at::kDouble) * (M_PI / 180);
  const at::Tensor told = number_features(at::stack({turn.cos(), turn.sin()}, 1), 32);
  const at::Tensor apart = at::cdist(told, told) + 10 * at::eye(72);
  EXPECT_GT(apart.min().item<double>(), 0.5);
  EXPECT_TRUE(at::equal(number_features(x.to(at::kFloat), 6), number_features(x.to(at::kFloat), 6)));
  EXPECT_THROW(number_features(x, 3), UserError);
  EXPECT_THROW(number_features(x, 0), UserError);
  EXPECT_THROW(number_features(x.flatten(), 4), UserError);
}

TEST(ConditionRows, HoldFeaturesOfNumbersWhereTheyAreTold) {
  const Graph graph =
      mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4, .optional_condition = true, .number_features = 6});
  EXPECT_EQ(graph.conditions, 2 + 1 + 6 + 4);
  EXPECT_EQ(conditioning(graph).conditions, 2);
  EXPECT_EQ(conditioning(graph_from_json(to_json(graph))).number_features, 6);
  const at::Tensor numbers = at::tensor({0.3F, 0.5F}).view({1, 2}), sigma = at::tensor({0.1, 3.0});
  const at::Tensor rows = condition_rows(graph, at::cat({Condition::of_none(2).values, numbers}), sigma);
  EXPECT_TRUE(at::equal(rows[0].slice(0, 0, 9), at::zeros({9})));
  EXPECT_TRUE(at::equal(rows[1].slice(0, 0, 9),
                        at::cat({numbers.flatten(), at::ones({1}), number_features(numbers, 6).flatten()})));
  EXPECT_TRUE(at::equal(condition_rows_slope(graph, sigma).slice(1, 0, 9), at::zeros({2, 9})));
  const Graph always = mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4, .number_features = 6});
  EXPECT_TRUE(at::equal(condition_rows(always, numbers.expand({2, 2}), sigma)[1].slice(0, 0, 8),
                        at::cat({numbers, number_features(numbers, 6)}, 1).flatten()));
  EXPECT_THROW(mlp({{8}}, {2}, {.conditions = 2, .number_features = 6}), UserError);
  EXPECT_THROW(shapes(mlp({{8}}, {2}, {.classes = 3, .noise_features = 4, .number_features = 6})), UserError);
  EXPECT_THROW(shapes(mlp({{8}}, {2}, {.conditions = 2, .noise_features = 4, .number_features = 5})), UserError);
}

TEST(ConditionRows, GraphsKeepTheirMeaningInJson) {
  const Graph graph = mlp({{8}}, {2}, {.classes = 3, .noise_features = 4});
  const Graph back = graph_from_json(to_json(graph));
  EXPECT_EQ(back.condition_classes, 3);
  EXPECT_EQ(back.noise_features, 4);
  EXPECT_EQ(to_json(back), to_json(graph));
  for (const auto& [conditions, classes, features] : {std::array{7, 3, 5}, {6, 3, 4}, {7, -1, 4}, {0, 0, 2}}) {
    Graph bad = graph;
    bad.conditions = conditions, bad.condition_classes = classes, bad.noise_features = features;
    EXPECT_THROW(shapes(bad), UserError) << conditions << " " << classes << " " << features;
  }
  EXPECT_THROW(mlp({{8}}, {2}, {.classes = 3, .conditions = 4}), UserError);
}

TEST(Condition, GoesToLabelsAsTheNetworkTakesThem) {
  const at::Tensor classes = at::tensor({2, 0}, at::kLong), values = at::tensor({0.5F, 1.0F}).view({1, 2});
  for (const std::int64_t noise_features : {0, 4}) {  // a noise level stands beside the condition
    const Graph of_classes = mlp({{4}}, {2}, {.classes = 3, .noise_features = noise_features}),
                of_values = mlp({{4}}, {2}, {.conditions = 2, .noise_features = noise_features});
    EXPECT_TRUE(at::equal(labels(of_classes, {.classes = classes}, 2), classes));
    EXPECT_TRUE(at::equal(labels(of_classes, Condition::of_class(1), 3), at::ones({3}, at::kLong)));
    EXPECT_TRUE(at::equal(labels(of_values, {.values = values}, 3), values.expand({3, 2})));
    EXPECT_THROW(labels(of_classes, {}, 2), UserError);
    EXPECT_THROW(labels(of_classes, {.values = values}, 1), UserError);
    EXPECT_THROW(labels(of_classes, {.classes = classes}, 3), UserError);
    EXPECT_THROW(labels(of_classes, Condition::of_class(3), 2), UserError);
    EXPECT_THROW(labels(of_classes, Condition::of_class(-1), 2), UserError);
    EXPECT_THROW(labels(of_values, {.classes = classes, .values = values}, 1), UserError);
    EXPECT_THROW(labels(of_values, {.values = at::zeros({1, 3})}, 1), UserError);
  }
  const Graph none = mlp({{4}}, {2});
  EXPECT_FALSE(labels(none, {}, 2).defined());
  EXPECT_THROW(labels(none, Condition::of_class(0), 2), UserError);
}

}  // namespace
}  // namespace igebm::nn
