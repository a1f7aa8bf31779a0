#include "igebm/nn/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "igebm/base/error.h"
#include "igebm/nn/architectures.h"

namespace igebm::nn {
namespace {

struct Case {
  const char* name;
  Graph graph;
};

std::vector<Case> cases() {
  return {
      {"residual", residual({.stem = 8, .blocks = "8d 12 12d"}, {3, 8, 12})},
      {"residual with labels", residual({.stem = 6, .stem_kernel = 4, .blocks = "6 8d", .activation = Activation::silu},
                                        {1, 8, 8}, {.classes = 5})},
      {"residual with attention, dropout and conditions",
       residual({.stem = 6, .blocks = "16d 8", .attention = true, .dropout = 0.3}, {1, 8, 8}, {.conditions = 3})},
      {"strided", strided({.stem = 4, .channels = {6, 8}, .dense = 8}, {1, 9, 8})},
      {"strided with planes", strided({.stem = 4, .channels = {6, 8}, .dense = 8}, {2, 8, 8}, {.classes = 5})},
      {"strided with biases",
       strided({.stem = 4, .channels = {6, 8}, .activation = Activation::silu, .label_planes = false}, {1, 8, 8},
               {.classes = 3})},
      {"unet", unet({.channels = {8, 16}, .blocks = {1, 1}, .groups = 4}, {1, 8, 8})},
      {"unet with labels", unet({.channels = {8, 8}, .blocks = {2, 1}, .groups = 0}, {2, 8, 8}, {.classes = 3})},
      {"unet of one level", unet({.channels = {8}, .blocks = {1}, .groups = 2}, {1, 4, 6})},
      {"unet with all",
       unet({.channels = {4, 8, 6}, .blocks = {1, 2, 2}, .patch = 1, .groups = 2, .attention = true, .dropout = 0.2},
            {2, 8, 4}, {.classes = 3, .noise_features = 4})},
      {"mlp", mlp({{16, 8}}, {2})},
      {"mlp with labels", mlp({{16, 8}}, {2}, {.classes = 4})},
      {"mlp with conditions and noise", mlp({{16, 8}}, {2}, {.conditions = 2, .noise_features = 6})}};
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

EffectiveWeights in_double(const Tensors& tensors) {
  EffectiveWeights out;
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
    const EffectiveWeights weights = in_double(lively(graph).effective_weights());
    const at::Tensor x = input(graph, 3).requires_grad_(), y = labels(graph, 3), direction = at::randn_like(x);
    const Dropout dropout{5, 2};  // the same elements each time
    const at::Tensor gradient = torch::autograd::grad({evaluate(graph, weights, x, y, &dropout).sum()}, {x})[0];
    constexpr double h = 1e-5;
    const at::NoGradGuard no_grad;
    const at::Tensor change = (evaluate(graph, weights, x + h * direction, y, &dropout) -
                               evaluate(graph, weights, x - h * direction, y, &dropout)) /
                              (2 * h);
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
  const EffectiveWeights weights = network.effective_weights();
  const auto largest = [](const at::Tensor& w) {
    return at::linalg_svdvals(w.detach().reshape({w.size(0), -1})).max().item<double>();
  };
  for (const char* name : {"stem.weight", "block1.conv1.weight", "block2.bypass.weight"})
    EXPECT_NEAR(largest(weights.at(name)), 1, 1e-3) << name;
  // The second convolution starts near zero and is not blown up to norm 1; the head is not normalised.
  EXPECT_LT(largest(weights.at("block1.conv2.weight")), 1e-7);
  EXPECT_TRUE(at::equal(weights.at("head.weight"), network.parameters().at("head.weight")));
}

TEST(Network, SpectralNormIsOnEveryLayerButTheLast) {
  for (const auto& [name, graph] : cases()) {
    const std::string kind = name;
    if (!kind.starts_with("residual") && !kind.starts_with("strided")) continue;
    Network network = lively(graph);
    for (int i = 0; i < 300; ++i) network.advance_spectral_norm();
    const EffectiveWeights weights = network.effective_weights();
    for (const Node& n : graph.nodes) {
      if (n.op != Op::conv2d && n.op != Op::linear) continue;
      const at::Tensor &raw = network.parameters().at(n.name + ".weight"), &used = weights.at(n.name + ".weight");
      const auto largest = [](const at::Tensor& w) {
        return at::linalg_svdvals(w.detach().reshape({w.size(0), -1})).max().item<double>();
      };
      const bool capped = n.name.ends_with(".conv2") || n.name == "attention.out";
      const double expected = n.name == "head" ? largest(raw) : capped ? std::min(largest(raw), 1.0) : 1;
      EXPECT_NEAR(largest(used), expected, 2e-3) << name << ": " << n.name;
    }
  }
  const Graph plain = strided({.channels = {4}, .spectral_norm = false}, {1, 8, 8});
  for (const Node& n : plain.nodes) EXPECT_EQ(n.norm, Norm::none);
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

TEST(Network, LabelsChangeTheirOwnEnergyAloneAndMustFit) {
  for (const auto& [name, graph] : cases()) {
    const EffectiveWeights weights = in_double(lively(graph).effective_weights());
    const at::Tensor x = input(graph, 1).expand(input(graph, 3).sizes()).contiguous(), y = labels(graph, 3);
    const at::Tensor e = evaluate(graph, weights, x, y);
    if (!graph.conditional()) {
      EXPECT_TRUE(at::allclose(e[0], e[2])) << name;
      continue;
    }
    for (int i = 0; i < 2; ++i) EXPECT_GT((e[i] - e[i + 1]).abs().item<double>(), 1e-6) << name;
    const at::Tensor turned = evaluate(graph, weights, x, y.roll(1, 0));
    EXPECT_TRUE(at::allclose(turned, e.roll(1, 0), 1e-9, 1e-9)) << name;
    EXPECT_THROW(evaluate(graph, weights, x), UserError) << name;
    EXPECT_THROW(evaluate(graph, weights, x, y.slice(0, 0, 2)), UserError) << name;
    EXPECT_THROW(evaluate(graph, weights, x, graph.classes > 0 ? y.to(at::kFloat) : y.slice(1, 1)), UserError) << name;
  }
}

TEST(Network, AClassIsItsOneHotRow) {
  const std::vector<std::int64_t> picture = {1, 8, 8};
  const auto energies = [&](const auto& build, const Conditioning& on, const at::Tensor& y) {
    const Graph graph = build(on);
    const Network network = lively(graph);
    at::manual_seed(7);
    return evaluate(graph, network.effective_weights(), input(graph, 4).to(at::kFloat), y);
  };
  const auto agree = [&](const auto& build) {
    const at::Tensor y = at::tensor({2, 0, 1, 2}, at::kLong);
    EXPECT_TRUE(at::allclose(energies(build, {.classes = 3}, y),
                             energies(build, {.conditions = 3}, at::one_hot(y, 3).to(at::kFloat)), 1e-5, 1e-5));
  };
  agree([&](const Conditioning& on) { return residual({.stem = 4, .blocks = "6d 6"}, picture, on); });
  agree([&](const Conditioning& on) { return strided({.stem = 4, .channels = {6}}, picture, on); });
  agree([&](const Conditioning& on) { return strided({.channels = {6}, .label_planes = false}, picture, on); });
  agree([&](const Conditioning& on) { return unet({.channels = {8}, .blocks = {1}}, picture, on); });
  agree([&](const Conditioning& on) { return mlp({{8}}, {2}, on); });
}

TEST(Network, AttentionIsTheMeanOfValuesWeightedBySoftmax) {
  Graph graph;  // queries are the places of x, keys and values its means over 2x2
  graph.input_shape = {3, 4, 6};
  graph.add({.op = Op::input});
  graph.add({.op = Op::avg_pool, .inputs = {0}, .k = 2});
  graph.add({.op = Op::attention, .inputs = {0, 1, 1}});
  graph.add({.op = Op::inner, .inputs = {2, 0}});
  const at::Tensor x = input(graph, 2);
  const at::Tensor e = evaluate(graph, {}, x), pooled = at::avg_pool2d(x, 2).flatten(2), places = x.flatten(2);
  for (int n = 0; n < 2; ++n) {
    double expected = 0;
    for (int i = 0; i < 24; ++i) {
      const at::Tensor query = places[n].select(1, i);
      double sum = 0, weighted = 0;
      for (int j = 0; j < 6; ++j) {
        const double product = at::dot(query, pooled[n].select(1, j)).item<double>();
        sum += std::exp(product / std::sqrt(3));
        weighted += std::exp(product / std::sqrt(3)) * product;  // the value is the key
      }
      expected += weighted / sum;
    }
    EXPECT_NEAR(e[n].item<double>(), expected, 1e-9 * std::fabs(expected));
  }
}

TEST(Network, DropoutZeroesItsShareAndKeepsTheMean) {
  Graph graph;
  graph.input_shape = {4, 16, 16};
  const double rate = 0.3;
  graph.add({.op = Op::input});
  graph.add({.op = Op::dropout, .inputs = {0}, .rate = rate});
  graph.add({.op = Op::dropout, .inputs = {0}, .rate = rate});
  graph.add({.op = Op::inner, .inputs = {1, 1}});
  graph.add({.op = Op::inner, .inputs = {1, 2}});
  const auto energy_of = [&](std::size_t nodes) {
    Graph first = graph;
    first.nodes.resize(nodes);
    return first;
  };
  const Graph square = energy_of(4);
  const std::int64_t count = 64, elements = count * 1024;
  const at::Tensor x = at::ones({count, 4, 16, 16}).requires_grad_();
  // Of E = |d|^2 with d = x m: dE/dx = 2 m^2 at x = 1, so that m is seen.
  const auto factors = [&](const Dropout& dropout) {
    return (torch::autograd::grad({evaluate(square, {}, x, {}, &dropout).sum()}, {x})[0] / 2).sqrt();
  };
  const at::Tensor m = factors({1, 0});
  const at::Tensor zero = m.eq(0);
  EXPECT_TRUE(at::allclose(m.masked_select(zero.logical_not()), at::full({1}, 1 / (1 - rate))));
  const double zeros = zero.to(at::kDouble).mean().item<double>();
  const double error = std::sqrt(rate * (1 - rate) / static_cast<double>(elements));
  EXPECT_NEAR(zeros, rate, 4 * error);
  EXPECT_NEAR(m.mean().item<double>(), 1, 4 * error / (1 - rate));
  // A function of seed and step; other inputs, steps, seeds and nodes have elements of their own.
  EXPECT_TRUE(at::equal(factors({1, 0}), m));
  const auto agreement = [&](const at::Tensor& a, const at::Tensor& b) {
    return a.eq(0).eq(b.eq(0)).to(at::kDouble).mean().item<double>();
  };
  const double by_chance = rate * rate + (1 - rate) * (1 - rate), spread = 4 * 0.5 / std::sqrt(1024 * 32);
  EXPECT_NEAR(agreement(factors({1, 1}), m), by_chance, spread);
  EXPECT_NEAR(agreement(factors({2, 0}), m), by_chance, spread);
  EXPECT_NEAR(agreement(m.slice(0, 0, 32), m.slice(0, 32)), by_chance, spread);
  const Dropout dropout{1, 0};
  const double both = evaluate(graph, {}, x, {}, &dropout).sum().item<double>() * (1 - rate) * (1 - rate);
  EXPECT_NEAR(both / static_cast<double>(elements), (1 - rate) * (1 - rate), spread);
  // Not in training: x itself.
  EXPECT_TRUE(at::equal(evaluate(square, {}, x), at::full({count}, 1024.0)));
}

TEST(Network, StartsAsAFunctionOfTheSeed) {
  const Graph graph = mlp({{8}}, {2});
  EXPECT_TRUE(at::equal(Network(graph, 1).parameters().at("layer1.weight"),
                        Network(graph, 1).parameters().at("layer1.weight")));
  EXPECT_FALSE(at::equal(Network(graph, 1).parameters().at("layer1.weight"),
                         Network(graph, 2).parameters().at("layer1.weight")));
}

// The networks of Du & Mordatch 2019: a bias for each convolution, a bypass where a block's widths differ.
TEST(Architectures, HaveThePapersNumbersOfParameters) {
  const auto conv = [](std::int64_t in, std::int64_t out, std::int64_t k = 3) { return in * out * k * k + out; };
  const auto count = [](const Graph& graph) { return Network(graph, 0).parameter_count(); };
  // Where a block widens: its first convolution and its bypass from in to out, its second from out to out.
  const auto widening = [&](std::int64_t in, std::int64_t out) { return 2 * conv(in, out) + conv(out, out); };
  const std::vector<std::int64_t> cifar = {3, 32, 32};
  const std::int64_t stem = conv(3, 128);
  const std::string resnet32 = "128d 128 256d 256 256d 256";
  const std::int64_t of_resnet32 =
      stem + 2 * 2 * conv(128, 128) + widening(128, 256) + 3 * 2 * conv(256, 256) + 256 + 1;
  EXPECT_EQ(count(residual({.blocks = resnet32}, cifar)), of_resnet32);
  // Conditional: a bias into each block (128 128 128 256 256 256) and a gain in it (128 128 256 256 256 256).
  EXPECT_EQ(count(residual({.blocks = resnet32}, cifar, {.classes = 10})),
            of_resnet32 + 10 * (3 * 128 + 3 * 256) + 10 * (2 * 128 + 4 * 256));
  // Attention at the 128 channels of the first stage: queries and keys of 16, values of 64, and back.
  EXPECT_EQ(count(residual({.blocks = resnet32, .attention = true, .dropout = 0.5}, cifar)),
            of_resnet32 + 2 * conv(128, 16, 1) + conv(128, 64, 1) + conv(64, 128, 1));
  EXPECT_EQ(count(residual({.blocks = "128d 128 128 256d 256 256 512d 512 512"}, cifar)),
            stem + 6 * conv(128, 128) + widening(128, 256) + 4 * conv(256, 256) + widening(256, 512) +
                4 * conv(512, 512) + 512 + 1);
  EXPECT_EQ(count(residual({.blocks = "256d 256 256 512d 512 512 1024d 1024 1024"}, cifar)),
            stem + widening(128, 256) + 4 * conv(256, 256) + widening(256, 512) + 4 * conv(512, 512) +
                widening(512, 1024) + 4 * conv(1024, 1024) + 1024 + 1);
  EXPECT_EQ(count(residual({.blocks = "128d 128 128 128 128 256d 256 256 256 256 512d 512 512 512 512"}, cifar)),
            stem + 10 * conv(128, 128) + widening(128, 256) + 8 * conv(256, 256) + widening(256, 512) +
                8 * conv(512, 512) + 512 + 1);
  EXPECT_EQ(count(residual({.stem = 64, .blocks = "64d 128d 256d 512d 512d 512", .activation = Activation::silu},
                           {3, 128, 128}, {.classes = 1000})),
            conv(3, 64) + 2 * conv(64, 64) + widening(64, 128) + widening(128, 256) + widening(256, 512) +
                4 * conv(512, 512) + 512 + 1 + 1000 * (64 + 64 + 128 + 256 + 512 + 512) +
                1000 * (64 + 128 + 256 + 512 + 512 + 512));
  // 28, 14, 7, 4; with labels, ten more planes enter the stem.
  const std::int64_t strides = conv(64, 64, 4) + conv(64, 128, 4) + conv(128, 256, 4);
  const std::int64_t dense = (256 * 4 * 4 * 128 + 128) + (128 + 1);
  EXPECT_EQ(count(strided({}, {1, 28, 28})), conv(1, 64) + strides + dense);
  EXPECT_EQ(count(strided({}, {1, 28, 28}, {.classes = 10})), conv(1 + 10, 64) + strides + dense);
  // 64, 32, 16, 8, 4; with 3 conditions, a bias into each of the four strided convolutions.
  EXPECT_EQ(count(strided(
                {.stem = 32, .channels = {64, 128, 128, 128}, .activation = Activation::silu, .label_planes = false},
                {1, 64, 64}, {.conditions = 3})),
            conv(1, 32) + conv(32, 64, 4) + conv(64, 128, 4) + 2 * conv(128, 128, 4) + (128 * 4 * 4 * 128 + 128) +
                (128 + 1) + 3 * (32 + 64 + 128 + 128));
}

TEST(Architectures, UNetsHaveTheirNumbersOfParameters) {
  const auto conv = [](std::int64_t in, std::int64_t out, std::int64_t k = 3) { return in * out * k * k + out; };
  const auto block = [&](std::int64_t in, std::int64_t out) {
    return 2 * in + conv(in, out) + 2 * out + conv(out, out) + (in == out ? 0 : conv(in, out, 1));
  };
  const auto count = [](const Graph& graph) { return Network(graph, 0).parameter_count(); };
  EXPECT_EQ(count(unet({}, {1, 28, 28})), conv(4, 32) + block(32, 32) + conv(32, 64, 2) + 3 * block(64, 64) +
                                              conv(64, 32, 1) + block(64, 32) + 2 * 32 + conv(32, 4) + 64 + 1);
  // Three levels for CIFAR-10, attention at the deepest, class and noise in a bias of each block.
  const UNetOptions options{.channels = {32, 48, 64}, .blocks = {2, 1, 2}, .attention = true, .dropout = 0.1};
  EXPECT_EQ(count(unet(options, {3, 32, 32}, {.classes = 10, .noise_features = 16})),
            conv(12, 32) + 2 * block(32, 32) + conv(32, 48, 2) + block(48, 48) + conv(48, 64, 2) +  // down
                2 * block(64, 64) + 2 * 64 + 4 * conv(64, 64, 1) +                                  // deepest
                conv(64, 48, 1) + block(96, 48) + conv(48, 32, 1) + block(64, 32) + block(32, 32) + 2 * 32 +
                conv(32, 12) + 64 + 1 + 26 * (4 * 32 + 2 * 48 + 2 * 64));
}

TEST(Architectures, LargePicturesGoDownToTheDeepestLevel) {
  const UNetOptions options{.channels = {16, 16, 24, 24, 32}, .blocks = {1, 1, 1, 1, 1}, .attention = true};
  const Graph graph = unet(options, {3, 128, 128}, {.classes = 1000});
  std::map<std::string, std::vector<std::int64_t>> sizes;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) sizes[graph.nodes[i].name] = shapes(graph)[i];
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(sizes.at("stem"), (Shape{16, 64, 64}));
  EXPECT_EQ(sizes.at("level4.encoder1.conv2"), (Shape{24, 8, 8}));
  EXPECT_EQ(sizes.at("attention.out"), (Shape{32, 4, 4}));
  EXPECT_EQ(sizes.at("level2.decoder1.conv2"), (Shape{16, 32, 32}));
  EXPECT_EQ(sizes.at("out"), (Shape{12, 64, 64}));
}

// The demo's network and its first weights, which are drawn in the order of nodes, stay what they were measured with.
TEST(Architectures, TheDemosNetworkStaysTheSame) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : to_json(unet({}, {1, 28, 28}, {.classes = 10})))
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  EXPECT_EQ(hash, 4058935888102276792ULL);
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
  const auto says = [](const auto& build, const std::string& what) {
    try {
      build();
      ADD_FAILURE() << "no error: " << what;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  says([] { unet({}, {1, 30, 28}); }, "sides divide by 4, got 30x28");
  says([] { unet({.channels = {8, 8, 8}, .blocks = {1, 1, 1}, .patch = 1}, {1, 8, 6}); }, "divide by 4, got 8x6");
  says([] { unet({}, {2}); }, "network.kind: unet is for pictures");
  says([] { unet({.channels = {8, 8, 8}}, {1, 8, 8}); }, "network.blocks: expected as many numbers");
  says([] { unet({.channels = {}, .blocks = {}}, {1, 8, 8}); }, "network.channels: expected 1 to 16 levels");
  says([] { residual({.blocks = "128d x"}, {3, 32, 32}); }, "network.blocks: expected widths");
  says([] { residual({.blocks = "8 8", .attention = true}, {3, 32, 32}); }, "network.attention");
  says([] { shapes(residual({.stem = 4, .blocks = "4d 4d 4d 4d"}, {1, 28, 28})); }, "does not divide by 2");
  says([] { classifier({}, {1, 28, 7}, 10); }, "network.channels: 3 convolutions halve a picture of 28x7 away");
  says([] { strided({}, {2}); }, "network.kind: strided is for pictures");
  says([] { strided({}, {1, 28, 28}, {.classes = 3, .conditions = 2}); }, "network.conditions");
}

}  // namespace
}  // namespace igebm::nn
