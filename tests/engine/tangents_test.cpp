#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "igebm/engine/cpu/kernels.h"
#include "igebm/engine/engine.h"
#include "tests/engine/by_autograd.h"
#include "tests/engine/networks.h"

/// The CPU engine's derivatives of dE/dx along a direction.
namespace igebm::engine {
namespace {

bool has_tangents(const nn::Graph& graph) { return !has(graph, nn::Op::dropout); }

bool reads_labels(const nn::Graph& graph) {
  return graph.conditions > 0 &&
         (has(graph, nn::Op::label_bias) || has(graph, nn::Op::label_gain) || has(graph, nn::Op::label_planes));
}

/// The gradient of sum_i <v_i, dE/dx(x_i)> by autograd, in v's type.
nn::Tensors by_autograd(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                        const at::Tensor& labels, const at::Tensor& v) {
  nn::EffectiveWeights leaves;
  for (const auto& [name, w] : weights) leaves[name] = w.to(v.scalar_type()).detach().requires_grad_();
  const at::Tensor leaf = x.to(v.scalar_type()).detach().requires_grad_(),
                   e = nn::evaluate(graph, leaves, leaf, labels);
  const at::Tensor slope = torch::autograd::grad({e.sum()}, {leaf}, {}, true, true)[0];
  nn::Tensors want;
  nn::add_gradients(slope, v, leaves, want);
  return want;
}

/// Of all parameters together.
template <class Weights>
double difference(const Weights& weights, const nn::Tensors& got, const nn::Tensors& want) {
  double difference = 0, size = 0;
  for (const auto& [name, w] : weights) {
    const at::Tensor a = got.contains(name) ? got.at(name).to(at::kDouble) : at::zeros_like(w, at::kDouble),
                     b = want.contains(name) ? want.at(name).to(at::kDouble) : at::zeros_like(w, at::kDouble);
    EXPECT_EQ(a.sizes(), b.sizes()) << name;
    difference += (a - b).square().sum().item<double>();
    size += b.square().sum().item<double>();
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

void compare_joint(const Case& c, const Options& options, std::int64_t count) {
  const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
  const auto fast = prepare(c.graph, weights, options);
  const at::Tensor x = inputs(c.graph, count, at::kFloat), labels = random_labels(c.graph, count);
  Joint j = random_joint(c.graph, x, labels);
  const auto compare = [&](const char* of) {
    nn::Tensors got, want;
    const Matched matched = fast->match(x, labels, j.target, j.coefficients, got, &j.motion);
    ASSERT_EQ(matched.gradient.defined(), has_tangents(c.graph)) << c.name;
    if (!has_tangents(c.graph)) return;
    const at::Tensor residuals = joint_by_autograd(c.graph, weights, x, labels, j, want);
    const double tolerance = nn::is_smooth(c.graph) ? 1e-4 : 1e-2;
    EXPECT_LT(relative(matched.residuals, residuals), tolerance) << c.name << ' ' << of;
    EXPECT_LT(difference(weights, got, want), tolerance) << c.name << ' ' << options.instructions << ' ' << of;
  };
  compare("all");
  // Each alone, or a small one would be lost beside others.
  j.coefficients = at::zeros({count});
  const at::Tensor x_dot = j.motion.x_dot, labels_dot = j.motion.labels_dot;
  j.motion.x_dot = at::zeros_like(x);
  compare("labels and energy");
  j.motion.energy_rate = 0;
  if (reads_labels(c.graph)) compare("labels");
  j.motion.labels_dot = at::Tensor();
  j.motion.energy_rate = 1;
  compare("energy");
}

void compare_pulls(const Case& c, const Options& options, std::int64_t count) {
  const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
  const auto fast = prepare(c.graph, weights, options);
  const at::Tensor x = inputs(c.graph, count, at::kFloat), labels = random_labels(c.graph, count),
                   v = at::randn_like(x);
  const auto tangent = fast->tangent(x, labels);
  ASSERT_EQ(tangent != nullptr, has_tangents(c.graph)) << c.name;
  nn::Tensors got, twice;
  if (!tangent) {
    EXPECT_FALSE(fast->match(x, labels, v, at::ones({count}), got).gradient.defined()) << c.name;
    EXPECT_TRUE(got.empty());
    return;
  }
  tangent->pull(v, got);
  // At a leaky ReLU's kink to rounding either slope is right.
  const double tolerance = nn::is_smooth(c.graph) ? 1e-4 : 1e-2;
  const nn::Tensors want = by_autograd(c.graph, weights, x, labels, v.to(at::kDouble));
  EXPECT_LT(difference(weights, got, want), tolerance) << c.name << ' ' << options.instructions << ' ' << count;
  for (const auto& [name, g] : got) twice[name] = g.clone();
  tangent->pull(v, twice);
  for (const auto& [name, g] : twice) EXPECT_TRUE(at::equal(g, 2 * got.at(name))) << c.name << ' ' << name;
  // What matching pulls along: c (dE/dx - target).
  const at::Tensor each = at::randn({count}), target = at::randn_like(x);
  std::vector<std::int64_t> column(static_cast<std::size_t>(x.dim()), 1);
  column[0] = count;
  nn::Tensors matched, expected;
  const at::Tensor gradient = fast->match(x, labels, target, each, matched).gradient;
  EXPECT_LT(relative(gradient, fast->given(labels)->energy_and_gradient(x).gradient), 1e-5) << c.name;
  tangent->pull(each.reshape(column) * (gradient - target), expected);
  EXPECT_LT(difference(weights, matched, expected), 1e-6) << c.name;
}

void compare_products(const Case& c, const Options& options, std::int64_t count) {
  const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
  const at::Tensor x = inputs(c.graph, count, at::kFloat), labels = random_labels(c.graph, count),
                   v = at::randn_like(x);
  const at::Tensor got = prepare(c.graph, weights, options)->given(labels)->hessian_product(x, v),
                   want = product_by_autograd(c.graph, weights, x, labels, v.to(at::kDouble));
  EXPECT_EQ(got.sizes(), x.sizes());
  EXPECT_LE((got - want).norm().item<double>(), (nn::is_smooth(c.graph) ? 1e-4 : 1e-2) * want.norm().item<double>())
      << c.name << ' ' << options.instructions;
}

/// check(network, level) for each, by each instruction set that the processor has.
template <class Check>
void for_networks(const Check& check) {
  for (const Case& c : cases()) {
    for (const char* level : {"v2", "v3", "v4", "plain", "neon"}) {
      if (std::string(cpu::kernels(level).name) == level) check(c, level);
    }
  }
}

template <class Check>
void for_random_networks(const Check& check) {
  for (unsigned seed = 0; seed < 200; ++seed) check(random_network(seed), std::array{"", "v2", "v3", "v4"}[seed % 4]);
}

TEST(Tangents, AreAGradientOfAGradientInDouble) {
  std::mt19937 random(7);
  for_networks([&](const Case& c, const char* level) {
    for (const std::int64_t count : {1, 5})
      compare_pulls(c, {.choices = random_choices(c.graph, random, level), .instructions = level}, count);
  });
}

TEST(Tangents, AlongInputsLabelsAndTheEnergyJointly) {
  std::mt19937 random(10);
  for_networks([&](const Case& c, const char* level) {
    compare_joint(c, {.choices = random_choices(c.graph, random, level), .instructions = level}, 5);
  });
}

TEST(Tangents, JointOnesOfRandomNetworks) {
  std::mt19937 random(11);
  int with = 0;
  for_random_networks([&](const Case& c, const char* level) {
    compare_joint(c, {.choices = random_choices(c.graph, random, level), .instructions = level}, 3);
    with += has_tangents(c.graph) && reads_labels(c.graph) ? 1 : 0;
  });
  EXPECT_GT(with, 10);
}

TEST(Tangents, HessianProducts) {
  std::mt19937 random(12);
  const auto check = [&](const Case& c, const char* level) {
    compare_products(c, {.choices = random_choices(c.graph, random, level), .instructions = level}, 3);
  };
  for_networks(check);
  for_random_networks(check);
}

// Each alone: they are a small part of all parameters. Scores are made large, so that weights of places are far from
// equal.
TEST(Tangents, OfQueriesKeysAndValues) {
  std::mt19937 random(12);
  int compared = 0;
  for_networks([&](const Case& c, const char* level) {
    if (!has(c.graph, nn::Op::attention) || !has_tangents(c.graph)) return;
    nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    std::vector<std::string> layers;
    for (const nn::Node& n : c.graph.nodes) {
      if (n.op != nn::Op::attention) continue;
      for (const int input : n.inputs) {
        const nn::Node& from = c.graph.nodes[static_cast<std::size_t>(input)];
        if (from.op == nn::Op::conv2d) layers.push_back(from.name + ".weight");
      }
    }
    for (const std::string& layer : layers) weights[layer] = 1.5 * weights[layer];
    const auto fast =
        prepare(c.graph, weights, {.choices = random_choices(c.graph, random, level), .instructions = level});
    const at::Tensor x = inputs(c.graph, 4, at::kFloat), labels = random_labels(c.graph, 4), v = at::randn_like(x);
    const Joint j = random_joint(c.graph, x, labels);
    nn::Tensors pulled, jointly, exactly;
    fast->tangent(x, labels)->pull(v, pulled);
    fast->match(x, labels, j.target, j.coefficients, jointly, &j.motion);
    joint_by_autograd(c.graph, weights, x, labels, j, exactly);
    const nn::Tensors exact = by_autograd(c.graph, weights, x, labels, v.to(at::kDouble));
    for (const std::string& layer : layers) {
      EXPECT_LT(relative(pulled.at(layer), exact.at(layer)), 1e-4) << c.name << ' ' << level << ' ' << layer;
      EXPECT_LT(relative(jointly.at(layer), exactly.at(layer)), 1e-4) << c.name << ' ' << level << ' ' << layer;
      ++compared;
    }
  });
  EXPECT_GT(compared, 10);
}

TEST(Tangents, OfRandomNetworks) {
  std::mt19937 random(8);
  int with = 0;
  for_random_networks([&](const Case& c, const char* level) {
    compare_pulls(c, {.choices = random_choices(c.graph, random, level), .instructions = level}, 3);
    with += has_tangents(c.graph) ? 1 : 0;
  });
  EXPECT_GT(with, 50);
}

// SiLU's slope is 0 at -1.278: what is divided by it must not be lost there.
TEST(Tangents, WhereAnActivationIsFlat) {
  Net n({1});
  n.head(n.elementwise(nn::Op::silu, n.linear(0, 8)));
  nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
  std::string layer;
  for (const nn::Node& node : n.graph.nodes) {
    if (node.op == nn::Op::linear && node.out == 8) layer = node.name;
  }
  weights[layer + ".weight"] = at::ones({8, 1});
  const float flat = -1.2784645F, far = -95;
  at::Tensor bias = at::zeros({8});
  for (int i = 0; i < 6; ++i) bias[i] = std::nextafter(flat, i < 3 ? 0.0F : -2.0F) + static_cast<float>(i - 3) * 1e-7F;
  bias[6] = far;
  bias[7] = -far;
  weights[layer + ".bias"] = bias;
  const auto fast = prepare(n.graph, weights, {});
  const at::Tensor x = at::zeros({1, 1}), v = at::ones({1, 1});
  nn::Tensors got;
  fast->tangent(x, {})->pull(v, got);
  EXPECT_LT(difference(weights, got, by_autograd(n.graph, weights, x, {}, v.to(at::kDouble))), 1e-5);
}

TEST(Tangents, DependOnTheBatchAndTheThreadsByRoundingAlone) {
  const int threads = at::get_num_threads();
  std::mt19937 random(9);
  for (const Case& c : cases()) {
    if (!has_tangents(c.graph)) continue;
    const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    const std::string choices = random_choices(c.graph, random);
    auto other = nlohmann::json::parse(choices);
    other["tangent_samples"] = 1 + other["tangent_samples"].get<int>() % 4;
    const at::Tensor x = inputs(c.graph, 12, at::kFloat), labels = random_labels(c.graph, 12), v = at::randn_like(x);
    const Joint j = random_joint(c.graph, x, labels);
    const auto pull = [&](const std::string& chosen, int with) {
      at::set_num_threads(with);
      const auto fast = prepare(c.graph, weights, {.choices = chosen});
      nn::Tensors into, jointly;
      fast->tangent(x, labels)->pull(v, into);
      jointly["residuals"] = fast->match(x, labels, j.target, j.coefficients, jointly, &j.motion).residuals;
      for (const auto& [name, g] : jointly) into["joint " + name] = g;
      return into;
    };
    const nn::Tensors one = pull(choices, 1);
    EXPECT_LT(difference(one, pull(choices, 2), one), 1e-5) << c.name;
    EXPECT_LT(difference(one, pull(other.dump(), 1), one), 1e-5) << c.name;
    const nn::Tensors again = pull(choices, 1);
    for (const auto& [name, g] : one) EXPECT_TRUE(at::equal(g, again.at(name))) << c.name << ' ' << name;
  }
  at::set_num_threads(threads);
}

// Pictures and factors of 8 bits, in networks of every shape: what is read from the wrong place would be wrong by its
// whole size.
TEST(Tangents, ByTilesInBfloat16) {
  if (cpu::tile_kernels() == nullptr) GTEST_SKIP() << "this processor has no matrix tiles";
  std::vector<Case> all = cases();
  for (unsigned seed = 0; seed < 150; ++seed) all.push_back(random_network(seed, 96));
  int by_tiles = 0;
  double sum = 0, joint_sum = 0, residual_sum = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Case& c = all[i];
    if (!has_tangents(c.graph) || !nn::is_smooth(c.graph)) continue;
    const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    const std::string choices = fmt::format(
        R"({{"kernels": "{}", "precision": "bf16", "chosen": "tiles", "tangent_samples": {}, "tiles": {{"samples": {}, "chunks": {{}}, "algorithms": {{}}}}}})",
        cpu::kernels().name, 1 + i % 4, 1 + i % 5);
    const auto fast = prepare(c.graph, weights, {.choices = choices, .precision = Precision::bf16});
    const at::Tensor x = inputs(c.graph, 5, at::kFloat), labels = random_labels(c.graph, 5), v = at::randn_like(x);
    nn::Tensors got;
    fast->tangent(x, labels)->pull(v, got);
    if (fast->description().find("tiles") == std::string::npos) continue;
    ++by_tiles;
    const double error = difference(weights, got, by_autograd(c.graph, weights, x, labels, v.to(at::kDouble)));
    EXPECT_LT(error, 0.25) << c.name;
    sum += error;
    Joint j = random_joint(c.graph, x, labels);
    j.motion.offsets = at::full({5}, 100);  // so that the weight of a record does not depend on a few digits
    j.motion.weights = 0.01 * at::randn({5});
    nn::Tensors jointly, want;
    const at::Tensor residuals = fast->match(x, labels, j.target, j.coefficients, jointly, &j.motion).residuals;
    const at::Tensor exact = joint_by_autograd(c.graph, weights, x, labels, j, want);
    // A term that is missing is an error of about 1 in each network; rounding is one of some hundredths in most, more
    // where terms cancel.
    residual_sum += ((residuals - exact).norm() / (5 + (exact - 100).norm())).item<double>();
    joint_sum += difference(weights, jointly, want);
  }
  EXPECT_GT(by_tiles, 20);
  EXPECT_LT(sum / by_tiles, 0.05);
  EXPECT_LT(joint_sum / by_tiles, 0.1);
  EXPECT_LT(residual_sum / by_tiles, 0.1);
}

}  // namespace
}  // namespace igebm::engine
