#include "igebm/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/engine/cpu/kernels.h"
#include "igebm/nn/architectures.h"

namespace igebm::engine {
namespace {

struct Case {
  std::string name;
  nn::Graph graph;
  bool fast = true;
};

std::vector<Case> cases() {
  using nn::MlpOptions, nn::ResidualOptions, nn::UNetOptions;
  const auto residual_of = [](const std::string& blocks, std::int64_t stem, std::int64_t kernel,
                              const std::string& act) {
    ResidualOptions o;
    o.blocks = blocks;
    o.stem = stem;
    o.stem_kernel = kernel;
    o.activation = act;
    return o;
  };
  UNetOptions small;
  small.channels = {8, 24};
  UNetOptions plain = small;
  plain.groups = 0;
  UNetOptions usual;
  MlpOptions layers;
  layers.widths = {40, 16, 3};
  return {
      {"residual", residual(residual_of("32d 48", 32, 3, "leaky_relu"), {1, 28, 28})},
      {"residual of odd widths, labels, SiLU",
       residual(residual_of("20d 12 12d 36", 20, 3, "silu"), {3, 16, 20}, {.classes = 5})},
      {"residual, strided stem, labels",
       residual(residual_of("8 24d", 8, 4, "leaky_relu"), {1, 28, 28}, {.classes = 3})},
      {"residual, wide", residual(residual_of("64d 128", 64, 3, "leaky_relu"), {3, 8, 8})},
      {"unet", unet(small, {1, 28, 28})},
      {"unet without norm, labels", unet(plain, {3, 16, 12}, {.classes = 4})},
      {"unet as in the demo", unet(usual, {1, 28, 28})},
      {"mlp", mlp(layers, {2})},
      {"mlp on pictures, labels", mlp(layers, {3, 5, 4}, {.classes = 6})},
  };
}

/// Weights far from the special values they start with, so that every path matters.
nn::Tensors random_weights(nn::Network& network) {
  at::manual_seed(1);
  nn::Tensors weights;
  for (const auto& [name, p] : network.parameters()) {
    const double fan_in = p.dim() > 1 ? static_cast<double>(p.numel() / p.size(0)) : 10.0;
    weights[name] = at::randn_like(p.detach()) * (p.dim() > 1 ? 1 / std::sqrt(fan_in) : 0.3);
    if (name.find("norm") != std::string::npos && name.ends_with("weight")) weights[name] += 1;
  }
  return weights;
}

nn::Tensors in_double(const nn::Tensors& weights) {
  nn::Tensors out;
  for (const auto& [name, w] : weights) out[name] = w.to(at::kDouble);
  return out;
}

at::Tensor inputs(const nn::Graph& graph, std::int64_t count) {
  std::vector<std::int64_t> shape = graph.input_shape;
  shape.insert(shape.begin(), count);
  return at::randn(shape);
}

at::Tensor some_labels(const nn::Graph& graph, std::int64_t count) {
  return graph.classes > 0 ? at::randint(graph.classes, {count}, at::kLong) : at::Tensor();
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).norm().item<double>() / b.to(at::kDouble).norm().item<double>();
}

/// Choices that name Winograd, or the direct algorithm, for everything.
std::string choices_of(const std::string& choices, const std::string& algorithm) {
  std::string out = choices;
  const std::string other = algorithm == "winograd" ? "\"direct\"" : "\"winograd\"";
  for (std::size_t at = 0; (at = out.find(other, at)) != std::string::npos;)
    out.replace(at, other.size(), "\"" + algorithm + "\"");
  return out;
}

TEST(Engine, ValuesAndGradientsAreThoseOfAutogradInDouble) {
  for (const Case& c : cases()) {
    nn::Network network(c.graph, 1);
    const nn::Tensors weights = random_weights(network);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = "reference"});
    for (const char* level : {"v2", "v3", "v4", "v4-bf16"}) {
      if (std::string(cpu::kernels(level).name) != level) continue;  // not on this processor
      auto fast = prepare(c.graph, weights, {.instructions = level});
      for (const std::int64_t count : {1, 2, 7, 33}) {
        const at::Tensor x = inputs(c.graph, count), labels = some_labels(c.graph, count);
        const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
        const auto check = [&](const energy::EnergyAndGradient& got) {
          EXPECT_LT((got.energy - want.energy).abs().max().item<double>(),
                    1e-4 * (1 + want.energy.abs().max().item<double>()))
              << c.name << " " << level << " " << count;
          EXPECT_LT(relative(got.gradient, want.gradient), 1e-4) << c.name << " " << level << " " << count;
          EXPECT_EQ(got.gradient.sizes(), x.sizes());
        };
        check(fast->given(labels)->energy_and_gradient(x));
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(fast->given(labels)->energy(x), fast->given(labels)->energy_and_gradient(x).energy))
            << c.name;
        for (const char* algorithm : {"winograd", "direct"}) {
          const auto forced =
              prepare(c.graph, weights, {.choices = choices_of(fast->choices(), algorithm), .instructions = level});
          check(forced->given(labels)->energy_and_gradient(x));
          EXPECT_EQ(forced->choices(), choices_of(fast->choices(), algorithm));
        }
      }
      EXPECT_NE(fast->description().find("cpu"), std::string::npos) << c.name << ": " << fast->description();
    }
  }
}

TEST(Engine, NothingDependsOnTheBatchOrTheThreads) {
  const int threads = at::get_num_threads();
  for (const Case& c : cases()) {
    nn::Network network(c.graph, 1);
    const auto fast = prepare(c.graph, random_weights(network), {});
    const at::Tensor x = inputs(c.graph, 64), labels = some_labels(c.graph, 64);
    at::set_num_threads(1);
    const auto one = fast->given(labels)->energy_and_gradient(x);
    at::set_num_threads(2);
    const auto two = fast->given(labels)->energy_and_gradient(x);
    EXPECT_TRUE(at::equal(one.energy, two.energy) && at::equal(one.gradient, two.gradient)) << c.name;
    for (std::int64_t i = 0; i < 64; i += 21) {
      const auto single =
          fast->given(labels.defined() ? labels.slice(0, i, i + 1) : labels)->energy_and_gradient(x.slice(0, i, i + 1));
      EXPECT_TRUE(at::equal(single.gradient[0], one.gradient[i])) << c.name;
    }
  }
  at::set_num_threads(threads);
}

// bfloat16 has 8 bits, and Winograd's transforms enlarge their rounding: gradients to some percent (of random weights a
// tenth), and unbiased.
TEST(Engine, Bfloat16IsRoundedFloat) {
  if (cpu::kernels().winograd_bf16 == nullptr) GTEST_SKIP() << "this processor has no bfloat16 instructions";
  for (const Case& c : cases()) {
    nn::Network network(c.graph, 1);
    const nn::Tensors weights = random_weights(network);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = "reference"});
    const auto rounded = prepare(c.graph, weights, {.precision = "bf16"});
    const at::Tensor x = inputs(c.graph, 24), labels = some_labels(c.graph, 24);
    const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
    const auto got = rounded->given(labels)->energy_and_gradient(x);
    EXPECT_LT(relative(got.gradient, want.gradient), 0.2) << c.name;
    const at::Tensor g = got.gradient.to(at::kDouble);
    EXPECT_NEAR(((g * want.gradient).sum() / want.gradient.square().sum()).item<double>(), 1, 0.02) << c.name;
    // Gradients of parameters stay in float32.
    nn::Tensors a, b;
    const at::Tensor ones = at::ones({24});
    prepare(c.graph, weights, {.precision = "f32"})->parameter_gradient(x, labels, ones, {}, a);
    rounded->parameter_gradient(x, labels, ones, {}, b);
    double difference = 0, size = 0;
    for (const auto& [name, t] : a) {
      difference += (t - b.at(name)).square().sum().item<double>();
      size += t.square().sum().item<double>();
    }
    EXPECT_LT(difference, 1e-8 * size) << c.name;
    const auto again = prepare(c.graph, weights, {.choices = rounded->choices(), .precision = "bf16"});
    EXPECT_TRUE(at::equal(again->given(labels)->energy_and_gradient(x).gradient, got.gradient)) << c.name;
  }
}

TEST(Engine, ResultsAreWrittenWhereTheyWere) {
  const Case c = cases()[4];
  nn::Network network(c.graph, 1);
  const auto energy = prepare(c.graph, random_weights(network), {})->given({});
  energy::EnergyAndGradient result;
  energy->energy_and_gradient_into(inputs(c.graph, 5), result);
  const void *e = result.energy.data_ptr(), *g = result.gradient.data_ptr();
  const at::Tensor x = inputs(c.graph, 5);
  energy->energy_and_gradient_into(x, result);
  EXPECT_EQ(result.energy.data_ptr(), e);
  EXPECT_EQ(result.gradient.data_ptr(), g);
  EXPECT_TRUE(at::equal(result.gradient, energy->energy_and_gradient(x).gradient));
  energy->energy_and_gradient_into(inputs(c.graph, 6), result);
  EXPECT_EQ(result.gradient.size(0), 6);
}

TEST(Engine, RefreshTakesNewWeightsAndEnergiesGivenOutSeeThem) {
  const nn::Graph graph = cases()[0].graph;
  nn::Network network(graph, 1);
  const nn::Tensors first = random_weights(network);
  nn::Tensors second;
  for (const auto& [name, w] : first) second[name] = w * 0.9;
  const auto fast = prepare(graph, first, {});
  const auto energy = fast->given({});
  const at::Tensor x = inputs(graph, 3);
  const at::Tensor before = energy->energy_and_gradient(x).gradient;
  fast->refresh(second);
  const at::Tensor after = energy->energy_and_gradient(x).gradient;
  EXPECT_LT(
      relative(after, prepare(graph, second, {.engine = "reference"})->given({})->energy_and_gradient(x).gradient),
      1e-4);
  EXPECT_GT(relative(after, before), 0.01);
}

TEST(Engine, WhatItDoesNotKnowIsLeftToAutogradAndSaid) {
  nn::Graph graph;
  graph.input_shape = {1, 8, 8};
  const int x = graph.add({.op = nn::Op::input});
  const int y = graph.add({.op = nn::Op::conv2d, .inputs = {x}, .name = "c", .in = 1, .out = 2, .k = 5, .padding = 2});
  graph.add({.op = nn::Op::half_square, .inputs = {y}});
  nn::Network network(graph, 1);
  const auto prepared = prepare(graph, network.effective_weights(), {});
  EXPECT_NE(prepared->description().find("autograd (the fast engine does not know conv2d"), std::string::npos)
      << prepared->description();
  EXPECT_EQ(prepared->given({})->energy_and_gradient(at::ones({2, 1, 8, 8})).gradient.size(0), 2);
  EXPECT_THROW(prepare(graph, network.effective_weights(), {.engine = "quick"}), UserError);
}

TEST(Engine, ParameterGradientsAreThoseOfAutogradInDouble) {
  for (const Case& c : cases()) {
    nn::Network network(c.graph, 1);
    const nn::Tensors weights = random_weights(network);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = "reference"});
    for (const char* level : {"v2", "v3", "v4"}) {
      if (std::string(cpu::kernels(level).name) != level) continue;
      const auto fast = prepare(c.graph, weights, {.instructions = level});
      for (const std::int64_t count : {1, 5, 18}) {
        const at::Tensor x = inputs(c.graph, count), labels = some_labels(c.graph, count);
        const at::Tensor coefficients = at::randn({count}),
                         slopes = count == 5 ? at::Tensor() : 0.1 * at::randn({count});
        nn::Tensors want, got;
        const at::Tensor energies =
            exact->parameter_gradient(x.to(at::kDouble), labels, coefficients.to(at::kDouble),
                                      slopes.defined() ? slopes.to(at::kDouble) : at::Tensor(), want);
        EXPECT_LT(relative(fast->parameter_gradient(x, labels, coefficients, slopes, got), energies), 1e-4) << c.name;
        double difference = 0, size = 0;
        for (const auto& [name, g] : want) size += g.square().sum().item<double>();
        ASSERT_EQ(got.size(), want.size()) << c.name;
        for (const auto& [name, g] : want) {
          ASSERT_EQ(got.at(name).sizes(), g.sizes()) << c.name << " " << name;
          // A bias before its own channel's norm has the gradient 0, and what rounding leaves of it.
          EXPECT_LT((got.at(name) - g).norm().item<double>(), 1e-3 * g.norm().item<double>() + 1e-5 * std::sqrt(size))
              << c.name << " " << name << " " << level;
          difference += (got.at(name) - g).square().sum().item<double>();
        }
        EXPECT_LT(std::sqrt(difference / size), 1e-4) << c.name << " " << level << " " << count;
        nn::Tensors twice = want;
        for (auto& [name, g] : twice) g = got.at(name).clone();
        fast->parameter_gradient(x, labels, coefficients, slopes, twice);
        for (const auto& [name, g] : twice) EXPECT_TRUE(at::equal(g, 2 * got.at(name))) << c.name << " " << name;
      }
    }
  }
}

TEST(Engine, LabelsOutOfRangeAreRefused) {
  const nn::Graph graph = cases()[1].graph;
  nn::Network network(graph, 1);
  const auto fast = prepare(graph, network.effective_weights(), {});
  const at::Tensor x = inputs(graph, 2);
  EXPECT_THROW(fast->given({})->energy_and_gradient(x), UserError);
  EXPECT_THROW(fast->given(at::tensor({0, 5}, at::kLong))->energy_and_gradient(x), UserError);
  EXPECT_THROW(fast->given(at::tensor({0}, at::kLong))->energy_and_gradient(x), UserError);
}

TEST(Engine, CompositionsOfPreparedEnergiesAgreeWithAutograd) {
  const nn::Graph graph = cases()[4].graph;
  nn::Network network(graph, 1);
  const nn::Tensors weights = random_weights(network);
  nn::Tensors other = weights;
  for (auto& [name, w] : other) w = w * 0.8;
  const auto both = [&](const std::string& engine) {
    const auto a = prepare(graph, weights, {.engine = engine})->given({});
    const auto b = prepare(graph, other, {.engine = engine})->given({});
    return std::make_shared<energy::Mixture>(
        std::vector<energy::EnergyPtr>{std::make_shared<energy::Sum>(std::vector<energy::EnergyPtr>{a, b}), b});
  };
  const at::Tensor x = inputs(graph, 5);
  EXPECT_LT(relative(both("fast")->energy_and_gradient(x).gradient, both("reference")->energy_and_gradient(x).gradient),
            1e-4);
}

}  // namespace
}  // namespace igebm::engine
