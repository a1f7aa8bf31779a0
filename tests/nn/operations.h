#pragma once

#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "igebm/nn/network.h"

/// A small network around each operation of the table.
namespace igebm::nn {

/// A graph under construction; nodes take their channels from the value before them.
class Around {
 public:
  explicit Around(Op op) {
    graph.input_shape = {2, 4, 4};
    if (op == Op::label_bias || op == Op::label_gain || op == Op::label_planes) graph.classes = 3;
    add({.op = Op::input}, {});
  }

  Graph graph;

  const Shape& shape(int x) const { return shapes_[static_cast<std::size_t>(x)]; }

  int add(Node node, std::vector<int> inputs) {
    node.inputs = std::move(inputs);
    if (!node.inputs.empty() && !shape(node.inputs[0]).empty()) node.in = shape(node.inputs[0])[0];
    node.name = std::string(name(node.op)) + std::to_string(graph.nodes.size());
    shapes_.push_back(operation(node.op).shape(node, graph, input_shapes(node, shapes_)));
    return graph.add(std::move(node));
  }
  int conv(int x, std::int64_t out, std::int64_t k) {
    return add({.op = Op::conv2d, .out = out, .k = k, .padding = k / 2, .bias = true}, {x});
  }
  int flat(int x) { return shape(x).size() == 1 ? x : add({.op = Op::flatten}, {x}); }
  int linear(int x, std::int64_t out) { return add({.op = Op::linear, .out = out, .bias = true}, {flat(x)}); }
  int silu(int x) { return add({.op = Op::silu}, {x}); }

  /// The operation on x. A new one needs its case.
  int operate(Op op, int x) {
    switch (op) {
      case Op::input:
        return x;
      case Op::affine:
        return add({.op = op, .scale = 1.5, .shift = -0.25}, {x});
      case Op::conv2d:
        return conv(x, 5, 3);
      case Op::linear:
        return linear(x, 5);
      case Op::group_norm:
        return add({.op = op, .groups = 2}, {x});
      case Op::leaky_relu:
        return add({.op = op, .slope = 0.3}, {x});
      case Op::avg_pool:
      case Op::upsample:
      case Op::unshuffle:
        return add({.op = op, .k = 2}, {x});
      case Op::add:
      case Op::concat:
      case Op::inner:
        return add({.op = op}, {x, silu(x)});
      case Op::squeeze:
        return add({.op = op}, {linear(x, 1)});
      case Op::label_bias:
      case Op::label_gain:
      case Op::label_planes:
        return add({.op = op, .classes = graph.classes}, {x});
      case Op::attention: {
        const int places = add({.op = Op::avg_pool, .k = 2}, {x});
        return add({.op = op}, {x, places, silu(places)});
      }
      case Op::dropout:
        return add({.op = op, .rate = 0.3}, {x});
      case Op::silu:
      case Op::sum_pool:
      case Op::mean_pool:
      case Op::flatten:
      case Op::half_square:
        return add({.op = op}, {x});
    }
    unhandled(op, "test of operations");
  }

  /// From a value of any shape to an energy that is not linear in it.
  void end(int x) {
    if (shape(x).empty()) return;
    if (shape(x).size() == 3) x = silu(conv(x, 3, 1));
    add({.op = Op::squeeze}, {linear(silu(linear(x, 4)), 1)});
  }

 private:
  std::vector<Shape> shapes_;
};

/// `within`: behind a convolution, else on x itself.
inline Graph around(Op op, bool within) {
  Around net(op);
  net.end(net.operate(op, within ? net.silu(net.conv(0, 4, 3)) : 0));
  return net.graph;
}

/// Weights far from those that they start with.
inline EffectiveWeights weights_of(const Graph& graph) {
  at::manual_seed(2);
  EffectiveWeights weights;
  const Network network(graph, 1);
  for (const auto& [name, p] : network.parameters())
    weights[name] = p.detach().to(at::kDouble) + 0.3 * at::randn(p.sizes(), at::kDouble);
  return weights;
}

}  // namespace igebm::nn
