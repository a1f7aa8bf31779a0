#include "igebm/nn/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"

namespace igebm::nn {
namespace {

struct Case {
  const char* name;
  Graph graph;
};

std::vector<Case> cases() {
  return {{"residual", residual({.stem = 8, .blocks = "8d 12 12d"}, {3, 8, 12})},
          {"residual with labels",
           residual({.stem = 6, .stem_kernel = 4, .blocks = "6 8d", .activation = "silu"}, {1, 8, 8}, {.classes = 5})},
          {"unet", unet({.channels = 8, .deep_channels = 16, .deep_blocks = 1, .groups = 4}, {1, 8, 8})},
          {"unet with labels", unet({.channels = 8, .deep_channels = 8, .blocks = 2, .deep_blocks = 1, .groups = 0},
                                    {2, 8, 8}, {.classes = 3})},
          {"mlp", mlp({{16, 8}}, {2})},
          {"mlp with labels", mlp({{16, 8}}, {2}, {.classes = 4})},
          {"residual with conditions", residual({.stem = 6, .blocks = "6 8d"}, {1, 8, 8}, {.conditions = 3})},
          {"mlp with labels and noise", mlp({{16, 8}}, {2}, {.classes = 4, .noise_features = 6})}};
}

/// A network whose zero and tiny weights are made ordinary, so that every layer takes part.
Network lively(const Graph& graph) {
  Network network(graph, 3);
  const at::NoGradGuard no_grad;
  at::manual_seed(4);
  for (auto& [_, p] : network.parameters()) p.add_(at::randn_like(p), 0.2);
  for (int i = 0; i < 5; ++i) network.advance_spectral_norm();
  return network;
}

Tensors in_double(const Tensors& tensors) {
  Tensors out;
  for (const auto& [name, t] : tensors) out[name] = t.detach().to(at::kDouble);
  return out;
}

at::Tensor input(const Graph& graph, std::int64_t count) {
  std::vector<std::int64_t> size = {count};
  size.insert(size.end(), graph.input_shape.begin(), graph.input_shape.end());
  return at::randn(size, at::kDouble);
}

at::Tensor labels(const Graph& graph, std::int64_t count) {
  if (graph.conditions > 0) return at::randn({count, graph.conditions}, at::kDouble);
  return graph.classes > 0 ? at::arange(count).remainder(graph.classes) : at::Tensor();
}

TEST(Network, InputGradientsAgreeWithFiniteDifferences) {
  for (const auto& [name, graph] : cases()) {
    const Tensors weights = in_double(lively(graph).effective_weights());
    const at::Tensor x = input(graph, 3).requires_grad_(), y = labels(graph, 3), direction = at::randn_like(x);
    const at::Tensor gradient = torch::autograd::grad({evaluate(graph, weights, x, y).sum()}, {x})[0];
    constexpr double h = 1e-5;
    const at::NoGradGuard no_grad;
    const at::Tensor change =
        (evaluate(graph, weights, x + h * direction, y) - evaluate(graph, weights, x - h * direction, y)) / (2 * h);
    const at::Tensor expected = (gradient * direction).flatten(1).sum(1);
    EXPECT_TRUE(at::allclose(change, expected, 1e-5, 1e-6)) << name << "\n" << change << expected;
    EXPECT_GT(expected.abs().min().item<double>(), 1e-6) << name;
  }
}

TEST(Network, ParameterGradientsAgreeWithFiniteDifferences) {
  for (const auto& [name, graph] : cases()) {
    Network network = lively(graph);
    Tensors parameters = in_double(network.parameters()), buffers = in_double(network.buffers());
    for (auto& [n, b] : network.buffers()) b = buffers.at(n);
    std::vector<at::Tensor> leaves;
    for (auto& [_, p] : parameters) leaves.push_back(p.requires_grad_());
    const at::Tensor x = input(graph, 3), y = labels(graph, 3);
    const auto loss = [&](const Tensors& p) { return evaluate(graph, network.effective_weights(p), x, y).sum(); };
    const auto gradients = torch::autograd::grad({loss(parameters)}, leaves, {}, false, false, true);
    const at::NoGradGuard no_grad;
    std::size_t i = 0;
    for (const auto& [n, p] : parameters) {
      const at::Tensor direction = at::randn_like(p);
      constexpr double h = 1e-6;
      const auto moved = [&](double s) {
        Tensors q = parameters;
        q[n] = p + s * direction;
        return loss(q).item<double>();
      };
      const double expected = gradients[i].defined() ? (gradients[i] * direction).sum().item<double>() : 0;
      EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), expected, 1e-4 * (1 + std::fabs(expected))) << name << ": " << n;
      ++i;
    }
  }
}

TEST(Network, SpectralNormIsTheLargestSingularValue) {
  Network network(residual({.stem = 8, .blocks = "8d 12"}, {3, 8, 8}), 1);
  for (int i = 0; i < 200; ++i) network.advance_spectral_norm();
  const Tensors weights = network.effective_weights();
  const auto largest = [](const at::Tensor& w) {
    return at::linalg_svdvals(w.detach().reshape({w.size(0), -1})).max().item<double>();
  };
  for (const char* name : {"stem.weight", "block1.conv1.weight", "block2.bypass.weight"})
    EXPECT_NEAR(largest(weights.at(name)), 1, 1e-3) << name;
  // The second convolution starts near zero and is not blown up to norm 1; the head is not normalised.
  EXPECT_LT(largest(weights.at("block1.conv2.weight")), 1e-7);
  EXPECT_TRUE(at::equal(weights.at("head.weight"), network.parameters().at("head.weight")));
}

TEST(Network, SamplingDoesNotMoveSpectralNorm) {
  Network network(residual({.stem = 8, .blocks = "8d"}, {3, 8, 8}), 1);
  const at::Tensor u = network.buffers().at("stem.weight.u").clone();
  network.effective_weights();
  EXPECT_TRUE(at::equal(u, network.buffers().at("stem.weight.u")));
  const at::NoGradGuard no_grad;
  network.parameters().at("stem.weight").add_(1);
  network.advance_spectral_norm();
  EXPECT_FALSE(at::equal(u, network.buffers().at("stem.weight.u")));
}

TEST(Network, LabelsChangeTheEnergyAndMustFit) {
  const Graph graph = residual({.stem = 6, .blocks = "6 8d"}, {1, 8, 8}, {.classes = 5});
  const Tensors weights = lively(graph).effective_weights();
  const at::Tensor x = at::randn({1, 1, 8, 8}).expand({5, 1, 8, 8});
  const at::Tensor e = evaluate(graph, weights, x, at::arange(5));
  for (int i = 1; i < 5; ++i) EXPECT_NE(e[0].item<float>(), e[i].item<float>());
  EXPECT_THROW(evaluate(graph, weights, x), UserError);
  EXPECT_THROW(evaluate(graph, weights, x, at::arange(4)), UserError);
}

TEST(Network, StartsAsAFunctionOfTheSeed) {
  const Graph graph = mlp({{8}}, {2});
  EXPECT_TRUE(at::equal(Network(graph, 1).parameters().at("layer1.weight"),
                        Network(graph, 1).parameters().at("layer1.weight")));
  EXPECT_FALSE(at::equal(Network(graph, 1).parameters().at("layer1.weight"),
                         Network(graph, 2).parameters().at("layer1.weight")));
}

// paper.md's and the pilot's sizes.
TEST(Architectures, HaveTheKnownNumbersOfParameters) {
  EXPECT_EQ(Network(unet({}, {1, 28, 28}), 0).parameter_count(), 283749);
  // ResNet-32: stem, blocks 128 128 256 256 256 256 (a bypass where widths differ), head; each convolution with a bias.
  const auto conv = [](std::int64_t in, std::int64_t out) { return in * out * 9 + out; };
  const std::int64_t resnet32 = conv(3, 128) + 4 * conv(128, 128) + 2 * conv(128, 256) + 7 * conv(256, 256) + 257;
  EXPECT_EQ(Network(residual({}, {3, 32, 32}), 0).parameter_count(), resnet32);
}

TEST(Graph, GoesToJsonAndBack) {
  for (const auto& [name, graph] : cases()) EXPECT_EQ(to_json(graph_from_json(to_json(graph))), to_json(graph)) << name;
}

TEST(Graph, DamagedDescriptionsAreRefused) {
  const std::string good = to_json(mlp({{8}}, {2}));
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(graph_from_json(good.substr(0, length)), UserError) << length;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  EXPECT_THROW(graph_from_json(with("\"silu\"", "\"gelu\"")), UserError);
  EXPECT_THROW(graph_from_json(with("\"inputs\":[1]", "\"inputs\":[7]")), UserError);
  EXPECT_THROW(graph_from_json(with("\"out\":8", "\"out\":9")), UserError);
  EXPECT_THROW(graph_from_json(with("\"bias\":true", "\"biased\":true")), UserError);
}

TEST(Architectures, WhatDoesNotFitIsNamed) {
  EXPECT_THROW(unet({}, {1, 30, 28}), UserError);
  EXPECT_THROW(unet({}, {2}), UserError);
  EXPECT_THROW(residual({.blocks = "128d x"}, {3, 32, 32}), UserError);
  EXPECT_THROW(Network(residual({.stem = 4, .blocks = "4d 4d 4d 4d"}, {1, 28, 28}), 0),
               UserError);  // 28 halves twice
}

}  // namespace
}  // namespace igebm::nn
