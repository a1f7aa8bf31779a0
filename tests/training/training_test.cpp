#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"
#include "igebm/training/objective.h"
#include "igebm/training/optimizer.h"
#include "igebm/training/replay_buffer.h"
#include "igebm/training/transport.h"

namespace igebm::training {
namespace {

TEST(Transport, IsTheBestOfAllPermutations) {
  at::manual_seed(1);
  for (int trial = 0; trial < 50; ++trial) {
    constexpr std::int64_t n = 6;
    at::Tensor cost = at::randn({n, n}, at::kDouble).contiguous();
    if (trial % 5 == 0) cost = cost.round();  // ties
    const double* c = cost.const_data_ptr<double>();
    const auto total = [&](const std::vector<std::int64_t>& columns) {
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i) sum += c[i * n + columns[static_cast<std::size_t>(i)]];
      return sum;
    };
    std::vector<std::int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    double best = 1e9;
    do {
      best = std::min(best, total(order));
    } while (std::next_permutation(order.begin(), order.end()));
    auto found = assign(std::vector<double>(c, c + n * n), n);
    EXPECT_NEAR(total(found), best, 1e-12);
    std::sort(found.begin(), found.end());
    for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i)], i);
  }
}

TEST(Transport, FindsShuffledPairsAgain) {
  at::manual_seed(2);
  const at::Tensor data = at::randn({64, 3, 4}), order = at::randperm(64);
  const at::Tensor noise = data.index_select(0, order) + 0.01 * at::randn({64, 3, 4});
  EXPECT_TRUE(at::equal(order.index_select(0, pair_by_transport(noise, data)), at::arange(64)));
}

// Adam against its own formulas, one parameter by hand.
TEST(Adam, StepsAsPublished) {
  nn::Tensors parameters = {{"a", at::tensor({1.0F, 2.0F})}, {"b", at::tensor({3.0F})}};
  Adam adam(parameters);
  const OptimizerOptions o{.beta1 = 0.9, .beta2 = 0.99, .clip = "none"};
  double m = 0, v = 0, p = 3;
  for (int t = 1; t <= 5; ++t) {
    const double g = 0.3 * t - 1;
    adam.update(o, 0.1, parameters, {at::tensor({0.0F, 0.0F}), at::tensor({static_cast<float>(g)})});
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    p -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.99, t))) + 1e-8);
    EXPECT_NEAR(parameters.at("b").item<double>(), p, 1e-5);
  }
  EXPECT_TRUE(at::equal(parameters.at("a"), at::tensor({1.0F, 2.0F})));
}

TEST(Adam, ClipsByNormAndBySecondMoment) {
  const auto moved = [](const OptimizerOptions& o, float g0, float g1) {
    nn::Tensors parameters = {{"a", at::zeros({2})}};
    Adam adam(parameters);
    EXPECT_NEAR(adam.update(o, 1, parameters, {at::tensor({g0, g1})}), std::hypot(g0, g1), 1e-4);
    return adam.state().at("m");  // beta1 = 0: the clipped gradient itself
  };
  EXPECT_TRUE(at::allclose(moved({.clip = "norm", .clip_norm = 1}, 3, 4), at::tensor({0.6F, 0.8F})));
  EXPECT_TRUE(at::allclose(moved({.clip = "norm", .clip_norm = 10}, 3, 4), at::tensor({3.0F, 4.0F})));
  EXPECT_TRUE(at::allclose(moved({.clip = "second-moment"}, 3, 0.05F), at::tensor({0.1F, 0.05F})));  // v is 0 at first
}

TEST(Adam, AGradientThatIsNotFiniteChangesNothing) {
  nn::Tensors parameters = {{"a", at::ones({2})}};
  Adam adam(parameters);
  EXPECT_FALSE(std::isfinite(adam.update({}, 0.1, parameters, {at::tensor({1.0F, NAN})})));
  EXPECT_TRUE(at::equal(parameters.at("a"), at::ones({2})));
  EXPECT_EQ(adam.state().at("step").item<std::int64_t>(), 0);
}

TEST(Schedule, WarmsUpAndFallsAsACosine) {
  const OptimizerOptions o{.learning_rate = 2, .warmup = 4, .schedule = "cosine", .final_share = 0.1};
  EXPECT_NEAR(learning_rate(o, 0, 100), 0.5, 1e-6);
  EXPECT_NEAR(learning_rate(o, 50, 100), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(learning_rate(o, 100, 100), 0.2, 1e-12);
  EXPECT_EQ(learning_rate({.learning_rate = 2}, 99, 100), 2);
}

TEST(ReplayBuffer, ChainsComeBackWithTheirLabelsAndStreams) {
  ReplayBuffer buffer({.size = 8, .restart_share = 0}, {"uniform", 0, 1}, {2});
  const at::Tensor data = at::full({4, 2}, 7.0F), labels = at::tensor({3, 1, 4, 1}, at::kLong);
  std::map<std::int64_t, std::pair<std::int64_t, float>> by_stream;
  for (std::int64_t step = 0; step < 50; ++step) {
    auto taken = buffer.take(data, labels, 1, step);
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto stream = taken.chains.stream[i].item<std::int64_t>();
      if (taken.fresh[i].item<bool>()) {
        EXPECT_EQ(by_stream.count(stream), 0U);
        EXPECT_EQ(taken.chains.labels[i].item<std::int64_t>(), labels[i].item<std::int64_t>());
        EXPECT_EQ(taken.chains.steps[i].item<std::int64_t>(), 0);
      } else {
        const auto& [label, x] = by_stream.at(stream);
        EXPECT_EQ(taken.chains.labels[i].item<std::int64_t>(), label);
        EXPECT_EQ(taken.chains.x[i][0].item<float>(), x);
      }
      taken.chains.x[i].fill_(static_cast<float>(step + 10 * i));
      by_stream[stream] = {taken.chains.labels[i].item<std::int64_t>(), static_cast<float>(step + 10 * i)};
    }
    buffer.put(taken);
  }
  EXPECT_EQ(by_stream.size(), 8U);  // without restarts, one chain a place
}

TEST(ReplayBuffer, RestartsAndDataHaveTheirShares) {
  ReplayBuffer buffer({.size = 1000, .restart_share = 0.2, .data_share = 0.1}, {"uniform", 0, 1}, {1});
  const at::Tensor data = at::full({500, 1}, 7.0F);
  std::int64_t restarted = 0, from_data = 0, total = 0;
  for (std::int64_t step = 0; step < 60; ++step) {
    const auto taken = buffer.take(data, {}, 1, step);
    if (step >= 20) {  // every place has been taken once by then
      restarted += taken.fresh.sum().item<std::int64_t>();
      from_data += (taken.chains.x == 7).sum().item<std::int64_t>();
      total += 500;
    }
    auto moved = taken;
    moved.chains.x = at::full({500, 1}, 3.0F);
    moved.chains.steps = taken.chains.steps + 1;
    buffer.put(moved);
  }
  EXPECT_NEAR(static_cast<double>(restarted) / static_cast<double>(total), 0.2, 4 * 0.4 / std::sqrt(total));
  EXPECT_NEAR(static_cast<double>(from_data) / static_cast<double>(total), 0.1, 4 * 0.3 / std::sqrt(total));
}

TEST(ReplayBuffer, CompactKeepsPixelsToHalfALevel) {
  ReplayBuffer buffer({.size = 4, .restart_share = 0, .compact = true}, {"uniform", -1, 1}, {5});
  auto taken = buffer.take(at::zeros({4, 5}), {}, 1, 0);
  taken.chains.x = at::rand({4, 5}) * 2 - 1;
  buffer.put(taken);
  const auto again = buffer.take(at::zeros({4, 5}), {}, 1, 1);
  const at::Tensor sorted_rows = at::argsort(taken.rows), sorted_again = at::argsort(again.rows);
  EXPECT_LT((again.chains.x.index_select(0, sorted_again) - taken.chains.x.index_select(0, sorted_rows))
                .abs()
                .max()
                .item<double>(),
            1.0 / 255 + 1e-6);
  EXPECT_EQ(buffer.state().at("x").scalar_type(), at::kByte);
}

TEST(Objectives, ContrastiveDivergenceIsItsFormula) {
  const at::Tensor positive = at::tensor({1.0, 2.0}), negative = at::tensor({3.0, -1.0});
  EXPECT_NEAR(contrastive_divergence(positive, negative, 0).item<double>(), 0.5, 1e-12);
  EXPECT_NEAR(contrastive_divergence(positive, negative, 0.1).item<double>(), 0.5 + 0.1 * (2.5 + 5), 1e-12);
}

// On E(x) = |x|^2 / 2 the loss is mean |x_t + x1 - x0|^2.
TEST(Objectives, EnergyMatchingIsItsFormula) {
  const at::Tensor noise = at::randn({5, 3}, at::kDouble), data = at::randn({5, 3}, at::kDouble),
                   time = at::rand({5}, at::kDouble);
  const at::Tensor t = time.unsqueeze(1), x = (1 - t) * noise + t * data;
  const double loss =
      energy_matching([](const at::Tensor& z) { return 0.5 * z.square().sum(1); }, noise, data, time).item<double>();
  EXPECT_NEAR(loss, (x + data - noise).square().mean().item<double>(), 1e-12);
  // With equilibrium 0.4 the velocity counts 1 at t = 0.4 and 0 at t = 1, linearly between.
  const at::Tensor late = at::tensor({0.0, 0.4, 0.55, 0.7, 1.0}, at::kDouble),
                   c = at::tensor({1.0, 1.0, 0.75, 0.5, 0.0}, at::kDouble);
  const at::Tensor l = late.unsqueeze(1), y = (1 - l) * noise + l * data;
  const double falling =
      energy_matching([](const at::Tensor& z) { return 0.5 * z.square().sum(1); }, noise, data, late, 0.4)
          .item<double>();
  EXPECT_NEAR(falling, (y + c.unsqueeze(1) * (data - noise)).square().mean().item<double>(), 1e-12);
}

TEST(Objectives, ParameterGradientsAgreeWithFiniteDifferences) {
  const nn::Graph graph = nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8});
  nn::Tensors parameters;
  at::manual_seed(5);
  const nn::Network network(graph, 2);
  for (const auto& [name, p] : network.parameters())
    parameters[name] = (p.detach().to(at::kDouble) + 0.1 * at::randn(p.sizes(), at::kDouble)).requires_grad_();
  const at::Tensor noise = at::randn({2, 1, 8, 8}, at::kDouble), data = at::randn({2, 1, 8, 8}, at::kDouble),
                   time = at::rand({2}, at::kDouble);
  const auto matching = [&](const nn::Tensors& p) {
    return energy_matching([&](const at::Tensor& x) { return nn::evaluate(graph, p, x); }, noise, data, time);
  };
  const auto divergence = [&](const nn::Tensors& p) {
    return contrastive_divergence(nn::evaluate(graph, p, data), nn::evaluate(graph, p, noise), 0.1);
  };
  std::vector<at::Tensor> leaves;
  for (const auto& [_, p] : parameters) leaves.push_back(p);
  for (const std::function<at::Tensor(const nn::Tensors&)>& loss :
       {std::function<at::Tensor(const nn::Tensors&)>(matching),
        std::function<at::Tensor(const nn::Tensors&)>(divergence)}) {
    const auto gradients = torch::autograd::grad({loss(parameters)}, leaves, {}, false, false, true);
    std::size_t i = 0;
    for (const auto& [name, p] : parameters) {
      const at::Tensor direction = at::randn_like(p);
      constexpr double h = 1e-5;
      const auto moved = [&](double s) {
        nn::Tensors q = parameters;
        q[name] = p.detach() + s * direction;
        return loss(q).item<double>();
      };
      const double expected = gradients[i].defined() ? (gradients[i] * direction).sum().item<double>() : 0;
      EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), expected, 1e-5 * (1 + std::fabs(expected))) << name;
      ++i;
    }
  }
}

// The fast engine's gradients of both objectives against autograd's exact ones: same data, noise and chains.
TEST(Objectives, GradientsByTheEngineAreAutograds) {
  const nn::Graph graph = nn::unet({.channels = {8, 8}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8}, {.classes = 3});
  at::manual_seed(6);
  nn::Tensors weights;
  const nn::Network network(graph, 2);
  for (const auto& [name, p] : network.parameters())
    weights[name] = (p.detach() + 0.1 * at::randn_like(p)).requires_grad_();
  const at::Tensor data = at::randn({6, 1, 8, 8}), labels = at::tensor({0, 2, 1, 1, 2, 0}, at::kLong);
  ContrastiveDivergenceOptions divergence;
  divergence.steps = 1;
  divergence.langevin.step_size = 0.01;
  divergence.replay.size = 6;
  for (const bool matching : {true, false}) {
    const auto gradients = [&](const char* engine) {
      const auto frozen = engine::prepare(graph, weights, {.engine = engine});
      std::unique_ptr<Objective> objective;
      if (matching) objective = std::make_unique<EnergyMatching>(EnergyMatchingOptions{.weight = 0.7});
      if (!matching)
        objective = std::make_unique<ContrastiveDivergence>(divergence, std::vector<std::int64_t>{1, 8, 8});
      Loss loss = objective->loss({graph, weights, *frozen, data, labels, 3, 4});
      EXPECT_EQ(loss.gradients.empty(), matching && std::string(engine) == "reference");
      if (!loss.gradients.empty()) return std::pair(loss.value.item<double>(), loss.gradients);
      std::vector<at::Tensor> leaves;
      for (const auto& [_, w] : weights) leaves.push_back(w);
      const auto found = torch::autograd::grad({loss.value}, leaves, {}, false, false, true);
      nn::Tensors by_name;
      std::size_t i = 0;
      for (const auto& [name, w] : weights) {
        if (found[i].defined()) by_name[name] = found[i];
        ++i;
      }
      return std::pair(loss.value.item<double>(), by_name);
    };
    const auto [value, fast] = gradients("fast");
    const auto [exact_value, exact] = gradients("reference");
    EXPECT_NEAR(value, exact_value, 1e-5 * std::fabs(exact_value));
    double difference = 0, size = 0;
    for (const auto& [name, g] : exact) {
      difference += (fast.at(name) - g).square().sum().item<double>();
      size += g.square().sum().item<double>();
    }
    EXPECT_LT(std::sqrt(difference / size), matching ? 1e-3 : 1e-4) << (matching ? "matching" : "divergence");
  }
}

TEST(Average, FollowsTheWeights) {
  nn::Tensors p = {{"a", at::zeros({1})}};
  Average average(p);
  p["a"].fill_(1);
  average.update(p, 0.5);  // decay min(0.5, 1 / 10)
  EXPECT_NEAR(average.weights().at("a").item<double>(), 0.9, 1e-6);
  for (int i = 0; i < 20; ++i) average.update(p, 0.5);
  EXPECT_NEAR(average.weights().at("a").item<double>(), 1, 1e-6);
}

}  // namespace
}  // namespace igebm::training
