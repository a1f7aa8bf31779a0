#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "igebm/engine/autotuner.h"
#include "igebm/engine/cpu/kernels.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/network.h"

/// Networks of the builders, and made by hand or drawn at random of operations that no builder puts together so; and
/// what to run them on.
namespace igebm::engine {

/// A graph under construction, with the shapes of its values.
class Net {
 public:
  using Op = nn::Op;

  explicit Net(std::vector<std::int64_t> input, std::int64_t classes = 0, std::int64_t conditions = 0) {
    graph.input_shape = std::move(input);
    graph.classes = classes;
    graph.conditions = conditions;
    add({.op = Op::input}, graph.input_shape);
  }

  nn::Graph graph;

  const std::vector<std::int64_t>& shape(int x) const { return shapes_[static_cast<std::size_t>(x)]; }
  std::int64_t channels(int x) const { return shape(x)[0]; }
  bool fits(int x, std::int64_t k, std::int64_t padding, std::int64_t end) const {
    return std::min(shape(x)[1], shape(x)[2]) + 2 * padding + end >= k;
  }

  int conv(int x, std::int64_t out, std::int64_t k, std::int64_t stride = 1, std::int64_t padding = 0,
           std::int64_t end = 0) {
    const auto side = [&](std::int64_t s) { return (s + 2 * padding + end - k) / stride + 1; };
    return add({.op = Op::conv2d,
                .inputs = {x},
                .name = name("conv"),
                .in = channels(x),
                .out = out,
                .k = k,
                .stride = stride,
                .padding = padding,
                .padding_end = end,
                .bias = graph.nodes.size() % 3 != 0},
               {out, side(shape(x)[1]), side(shape(x)[2])});
  }
  int linear(int x, std::int64_t out) {
    return add({.op = Op::linear, .inputs = {x}, .name = name("layer"), .in = channels(x), .out = out, .bias = true},
               {out});
  }
  int norm(int x, std::int64_t groups) {
    return add({.op = Op::group_norm, .inputs = {x}, .name = name("norm"), .in = channels(x), .groups = groups},
               shape(x));
  }
  int label(Op op, int x) {
    const std::int64_t labels = graph.classes + graph.conditions;
    auto out = shape(x);
    if (op == Op::label_planes) out[0] += labels;
    return add({.op = op, .inputs = {x}, .name = name("label"), .in = channels(x), .classes = labels}, out);
  }
  int attention(int q, int k, int v) {
    return add({.op = Op::attention, .inputs = {q, k, v}}, {channels(v), shape(q)[1], shape(q)[2]});
  }
  int dropout(int x, double rate) { return add({.op = Op::dropout, .inputs = {x}, .rate = rate}, shape(x)); }
  int elementwise(Op op, int x) { return add({.op = op, .inputs = {x}}, shape(x)); }
  int sum(int a, int b) { return add({.op = Op::add, .inputs = {a, b}}, shape(a)); }
  int concat(int a, int b) {
    return add({.op = Op::concat, .inputs = {a, b}}, {channels(a) + channels(b), shape(a)[1], shape(a)[2]});
  }
  int pool(int x, std::int64_t k) {
    return add({.op = Op::avg_pool, .inputs = {x}, .k = k}, {channels(x), shape(x)[1] / k, shape(x)[2] / k});
  }
  int upsample(int x, std::int64_t k) {
    return add({.op = Op::upsample, .inputs = {x}, .k = k}, {channels(x), shape(x)[1] * k, shape(x)[2] * k});
  }
  /// flatten, sum_pool or mean_pool
  int vector(Op op, int x) {
    const auto& s = shape(x);
    return add({.op = op, .inputs = {x}}, {op == Op::flatten ? s[0] * s[1] * s[2] : s[0]});
  }
  int number(Op op, int a) { return add({.op = op, .inputs = {a}}, {}); }
  int number(Op op, int a, int b) { return add({.op = op, .inputs = {a, b}}, {}); }
  int head(int vector) { return number(Op::squeeze, linear(vector, 1)); }

  /// Attention of x over `from`, by 1 x 1 convolutions, added to x.
  int attend(int x, int from, std::int64_t depth, std::int64_t width) {
    const int mixed = attention(conv(x, depth, 1), conv(from, depth, 1), conv(from, width, 1));
    return sum(conv(mixed, channels(x), 1), x);
  }

 private:
  int add(nn::Node node, std::vector<std::int64_t> shape) {
    shapes_.push_back(std::move(shape));
    return graph.add(std::move(node));
  }
  std::string name(const char* kind) const { return fmt::format("{}{}", kind, graph.nodes.size()); }

  std::vector<std::vector<std::int64_t>> shapes_;
};

struct Named {
  std::string name;
  nn::Graph graph;
};

/// Every kind of network that the builders make, small.
inline std::vector<Named> built_networks() {
  using nn::MlpOptions, nn::ResidualOptions, nn::StridedOptions, nn::UNetOptions;
  const auto residual_of = [](const std::string& blocks, std::int64_t stem, std::int64_t kernel, nn::Activation act) {
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
  ResidualOptions attentive = residual_of("16d 24 32d", 16, 3, nn::Activation::silu);
  attentive.attention = true;
  attentive.dropout = 0.5;
  UNetOptions deep;
  deep.channels = {8, 16, 24};
  deep.blocks = {2, 1, 2};
  deep.patch = 1;
  deep.attention = true;
  UNetOptions exact = deep;
  deep.dropout = 0.1;
  StridedOptions mnist, dsprites;
  mnist.stem = 8;
  mnist.channels = {8, 16, 24};
  dsprites.stem = 8;
  dsprites.channels = {8, 16, 16, 24};
  dsprites.activation = nn::Activation::silu;
  dsprites.label_planes = false;
  return {
      {"residual", residual(residual_of("32d 48", 32, 3, nn::Activation::leaky_relu), {1, 28, 28})},
      {"residual of odd widths, labels, SiLU",
       residual(residual_of("20d 12 12d 36", 20, 3, nn::Activation::silu), {3, 16, 20}, {.classes = 5})},
      {"residual, strided stem, labels",
       residual(residual_of("8 24d", 8, 4, nn::Activation::leaky_relu), {1, 28, 28}, {.classes = 3})},
      {"residual, wide", residual(residual_of("64d 128", 64, 3, nn::Activation::leaky_relu), {3, 8, 8})},
      {"unet", unet(small, {1, 28, 28})},
      {"unet without norm, labels", unet(plain, {3, 16, 12}, {.classes = 4})},
      {"unet as in the demo", unet(usual, {1, 28, 28})},
      {"unet of three levels, attention, dropout, conditions", unet(deep, {3, 16, 16}, {.conditions = 5})},
      {"unet of three levels, attention, a noise level, classes",
       unet(exact, {1, 12, 20}, {.classes = 3, .noise_features = 8})},
      {"residual, attention, dropout, labels, SiLU", residual(attentive, {3, 16, 12}, {.classes = 4})},
      {"the paper's for 128 x 128",
       residual(residual_of("8d 8d 16d 24d 24d 24", 8, 3, nn::Activation::silu), {3, 64, 64})},
      {"the paper's for MNIST", strided(mnist, {1, 28, 28}, {.classes = 10})},
      {"the paper's for MNIST, odd sizes", strided(mnist, {2, 27, 33}, {.conditions = 2})},
      {"the paper's for dSprites", strided(dsprites, {1, 64, 64}, {.conditions = 3})},
      {"mlp", mlp(layers, {2})},
      {"mlp on pictures, labels", mlp(layers, {3, 5, 4}, {.classes = 6})},
  };
}

inline std::vector<Named> handmade_networks() {
  using Op = nn::Op;
  std::vector<Named> all;
  {
    Net n({1, 28, 28}, 0, 3);
    int x = n.label(Op::label_planes, 0);
    for (const std::int64_t out : {8, 12, 20}) x = n.elementwise(Op::silu, n.conv(x, out, 4, 2, 1));  // 14, 7, 3
    x = n.elementwise(Op::silu, n.label(Op::label_bias, n.linear(n.vector(Op::flatten, x), 24)));
    n.head(x);
    all.push_back({"odd sizes, a layer on a flattened picture, conditions", n.graph});
  }
  {
    Net n({3, 8, 12}, 15);
    int x = n.label(Op::label_planes, 0);  // 18 channels: two blocks of lanes
    x = n.elementwise(Op::leaky_relu, n.conv(x, 16, 3, 1, 1));
    x = n.label(Op::label_planes, x);  // beside 16 channels, in lanes of their own
    x = n.elementwise(Op::silu, n.label(Op::label_gain, n.conv(x, 20, 1)));
    x = n.dropout(n.pool(x, 2), 0.25);
    n.head(n.vector(Op::mean_pool, n.elementwise(Op::silu, n.conv(x, 7, 3, 1, 1))));
    all.push_back({"label planes at two places, dropout", n.graph});
  }
  {
    Net n({3, 16, 16}, 0, 2);
    int x = n.conv(0, 32, 3, 1, 1);
    x = n.attend(n.norm(x, 4), n.pool(x, 2), 8, 24);  // 256 queries, 64 keys
    x = n.elementwise(Op::silu, n.label(Op::label_bias, n.conv(n.pool(x, 2), 48, 3, 1, 1)));
    x = n.attend(x, x, 16, 48);
    n.head(n.vector(Op::sum_pool, n.elementwise(Op::silu, x)));
    all.push_back({"attention", n.graph});
  }
  {
    // Queries that are the keys and the values, all with borders; keys of an odd number; an epilogue on attention.
    Net n({2, 7, 9}, 3);
    const int x = n.elementwise(Op::silu, n.conv(0, 20, 3, 1, 1));
    const int self = n.elementwise(Op::silu, n.label(Op::label_gain, n.label(Op::label_bias, n.attention(x, x, x))));
    const int wide = n.conv(n.sum(self, n.conv(x, 20, 3, 1, 1)), 40, 3, 2, 1);
    const int other = n.attention(n.conv(self, 17, 1), n.conv(wide, 17, 3, 1, 1), wide);
    n.head(n.vector(Op::mean_pool, n.elementwise(Op::leaky_relu, n.conv(other, 9, 3, 1, 1))));
    all.push_back({"attention of values with borders", n.graph});
  }
  {
    // Pictures of one pixel, values read before and after they are flattened, a layer beside a product.
    Net n({2, 6, 6});
    const int x = n.elementwise(Op::silu, n.conv(0, 6, 3, 1, 1));
    const int flat = n.vector(Op::flatten, x);
    int y = n.elementwise(Op::silu, n.conv(n.pool(x, 2), 18, 4, 2, 1));  // 3 -> 1
    y = n.elementwise(Op::silu, n.conv(y, 5, 3, 1, 1));
    y = n.conv(n.upsample(y, 3), 4, 3, 3);
    int e = n.sum(n.head(flat), n.number(Op::half_square, flat));
    e = n.sum(e, n.number(Op::inner, x, n.conv(x, 6, 3, 1, 1)));
    e = n.sum(e, n.head(n.elementwise(Op::silu, n.linear(flat, 20))));
    n.sum(e, n.number(Op::half_square, n.concat(y, n.conv(y, 3, 1))));
    all.push_back({"one pixel, flattened", n.graph});
  }
  {
    Net n({3, 32, 32});
    int x = n.elementwise(Op::silu, n.conv(0, 8, 3, 1, 1));
    for (const std::int64_t out : {8, 16, 24, 24, 32}) {
      const int bypass = n.channels(x) == out ? x : n.conv(x, out, 3, 1, 1);
      int y = n.elementwise(Op::silu, n.conv(x, out, 3, 1, 1));
      y = n.pool(n.sum(n.conv(y, out, 3, 1, 1), bypass), 2);
      x = n.elementwise(Op::silu, y);
    }
    n.head(n.vector(Op::sum_pool, x));
    all.push_back({"residual, halved to one pixel", n.graph});
  }
  return all;
}

/// Any operations in any order.
inline Named random_network(unsigned seed, std::int64_t most_channels = 40) {
  using Op = nn::Op;
  std::mt19937 random(seed);
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  const std::int64_t labels = between(1, 20);
  Net n({between(1, 4), between(3, 12), between(3, 12)}, seed % 3 == 1 ? labels : 0, seed % 3 == 2 ? labels : 0);
  const bool labelled = n.graph.conditional();
  bool joined = false;  // no sums with what is joined: they are left to autograd
  int x = 0;
  if (labelled && between(0, 1) == 0) x = n.label(Op::label_planes, x);
  x = n.conv(x, between(1, most_channels), 3, 1, 1);
  for (std::int64_t layers = between(3, 7); layers > 0; --layers) {
    const std::int64_t height = n.shape(x)[1], width = n.shape(x)[2];
    const int before = x;
    switch (between(0, joined ? 4 : 10)) {
      case 0: {
        struct Shape {
          std::int64_t k, stride, padding, end;
        };
        const std::vector<Shape> shapes = {{1, 1, 0, 0}, {1, 2, 0, 0}, {2, 2, 0, 0}, {2, 1, 0, 0},
                                           {3, 1, 1, 0}, {3, 2, 1, 0}, {3, 2, 0, 1}, {4, 2, 1, 0},
                                           {4, 2, 1, 1}, {3, 3, 0, 0}, {4, 4, 0, 0}};
        const Shape s = shapes[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(shapes.size()) - 1))];
        if (n.fits(x, s.k, s.padding, s.end)) x = n.conv(x, between(1, most_channels), s.k, s.stride, s.padding, s.end);
        break;
      }
      case 1:
        x = n.elementwise(between(0, 1) == 0 ? Op::silu : Op::leaky_relu, x);
        break;
      case 2:
        if (n.channels(x) * height * width >= 32) x = n.norm(x, n.channels(x) % 2 == 0 ? 2 : 1);
        break;
      case 3:
        if (labelled) x = n.label(between(0, 1) == 0 ? Op::label_bias : Op::label_gain, x);
        break;
      case 4:
        if (labelled) x = n.label(Op::label_planes, x);
        break;
      case 5: {
        const int from = height % 2 == 0 && width % 2 == 0 && between(0, 1) == 0 ? n.pool(x, 2) : x;
        x = n.attend(x, from, between(1, 20), between(1, most_channels));
        break;
      }
      case 6:
        x = n.attention(x, x, x);
        break;
      case 7:
        x = n.dropout(x, 0.5);
        break;
      case 8:
        if (height % 2 == 0 && width % 2 == 0) x = n.pool(x, 2);
        break;
      case 9:
        x = n.sum(x, n.conv(n.elementwise(Op::silu, x), n.channels(x), 3, 1, 1));
        break;
      default:
        x = n.concat(x, n.conv(x, between(1, 20), 1));
        joined = true;
        break;
    }
    if (x != before && n.graph.nodes[static_cast<std::size_t>(x)].op == Op::conv2d) joined = false;
  }
  if (between(0, 1) == 0) x = n.elementwise(Op::silu, n.conv(x, between(1, 20), 1));
  const std::vector<Op> ends = {Op::flatten, Op::sum_pool, Op::mean_pool};
  x = n.vector(ends[static_cast<std::size_t>(between(0, 2))], x);
  n.head(n.elementwise(Op::silu, n.linear(x, between(1, 20))));
  return {fmt::format("random {}", seed), n.graph};
}

inline bool has(const nn::Graph& graph, nn::Op op) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const nn::Node& n) { return n.op == op; });
}

/// Weights far from the special values they start with, so that every path matters.
inline nn::EffectiveWeights random_weights(const nn::Graph& graph, at::ScalarType type = at::kDouble) {
  at::manual_seed(1);
  nn::EffectiveWeights weights;
  const nn::Network network(graph, 1);
  for (const auto& [name, p] : network.parameters()) {
    const double fan_in = p.dim() > 1 ? static_cast<double>(p.numel() / p.size(0)) : 10.0;
    weights[name] = at::randn(p.sizes(), type) * (p.dim() > 1 ? 1 / std::sqrt(fan_in) : 0.3);
    if (name.find("norm") != std::string::npos && name.ends_with("weight")) weights[name] += 1;
  }
  return weights;
}

inline at::Tensor inputs(const nn::Graph& graph, std::int64_t count, at::ScalarType type = at::kDouble) {
  std::vector<std::int64_t> shape = graph.input_shape;
  shape.insert(shape.begin(), count);
  return at::randn(shape, type);
}

/// Drawn at random, as the network takes them.
inline at::Tensor random_labels(const nn::Graph& graph, std::int64_t count) {
  if (graph.conditions > 0) return at::randn({count, graph.conditions});
  return graph.classes > 0 ? at::randint(graph.classes, {count}, at::kLong) : at::Tensor();
}

inline double relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor want = b.cpu().to(at::kDouble);
  return (a.cpu().to(at::kDouble) - want).norm().item<double>() / want.norm().item<double>();
}

/// Choices for a network, drawn at random instead of measured.
inline std::string random_choices(const nn::Graph& graph, std::mt19937& random, const char* level = "",
                                  Precision precision = Precision::usual) {
  const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  std::string chunks, algorithms;
  for (int height = 1; height <= 36; ++height)
    chunks += fmt::format("{}\"{}\": {}", chunks.empty() ? "" : ", ", height, between(1, 4));
  for (const nn::Node& n : graph.nodes) {
    for (const char* end : {"", "'"}) {
      algorithms += fmt::format("{}\"{}{}\": \"{}\"", algorithms.empty() ? "" : ", ", n.name, end,
                                precision == Precision::bf16 ? "winograd-bf16"
                                : between(0, 1) == 0         ? "direct"
                                                             : "winograd");
    }
  }
  return fmt::format(
      R"({{"kernels": "{}", "precision": "{}", "samples": {}, "training_samples": {}, "tangent_samples": {}, "chunks": {{{}}}, "algorithms": {{{}}}}})",
      cpu::kernels(level).name, name_of(precision), between(1, 5), between(1, 4), between(1, 4), chunks, algorithms);
}

/// What is measured, once for all networks of a test's process.
inline std::shared_ptr<Autotuner> kept_choices() {
  static const auto all = std::make_shared<Autotuner>();
  return all;
}

using Case = Named;

inline std::vector<Case> cases() {
  std::vector<Case> all = built_networks();
  for (Named& n : handmade_networks()) all.push_back(std::move(n));
  return all;
}

inline nn::EffectiveWeights in_double(const nn::EffectiveWeights& weights) {
  nn::EffectiveWeights out;
  for (const auto& [name, w] : weights) out[name] = w.to(at::kDouble);
  return out;
}

}  // namespace igebm::engine
