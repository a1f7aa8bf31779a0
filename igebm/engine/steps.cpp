#include "igebm/engine/steps.h"

#include <utility>

namespace igebm::engine {

using fused::Activation;
using nn::Node;
using nn::Op;

Steps::Steps(const nn::Graph& graph) : graph_(graph), users_(graph.nodes.size()), made_(graph.nodes.size(), false) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const int input : graph.nodes[i].inputs)
      users_[static_cast<std::size_t>(input)].push_back(static_cast<int>(i));
  }
  std::vector<bool> covered(graph.nodes.size(), false);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    if (n.op == Op::input) made_[i] = true;
    if (n.op == Op::input || covered[i]) continue;
    Step s;
    s.input = n.inputs[0];
    s.value = static_cast<int>(i);
    int stage = 0;
    if (!take(n, s.input, s, stage)) {
      s.head = static_cast<int>(i);
      if (n.bias && n.op != Op::group_norm) s.bias = n.name + ".bias";
    }
    for (int next = only_user(s.value); next >= 0; next = only_user(s.value)) {
      if (!take(node(next), s.value, s, stage)) break;
      s.value = next;
      covered[static_cast<std::size_t>(next)] = true;
    }
    made_[static_cast<std::size_t>(s.value)] = true;
    steps.push_back(std::move(s));
  }
}

bool Steps::take(const Node& n, int on, Step& s, int& stage) const {
  const auto at_stage = [&](int wanted) {
    if (stage >= wanted) return false;
    stage = wanted;
    return true;
  };
  switch (n.op) {
    case Op::label_bias:
      if (!at_stage(1)) return false;
      s.label_bias = n.name + ".weight";
      return true;
    case Op::label_gain:
      if (!at_stage(2)) return false;
      s.label_gain = n.name + ".weight";
      return true;
    case Op::add: {
      const int other = n.inputs[0] == on ? n.inputs[1] : n.inputs[0];
      if (other == on || !made_[static_cast<std::size_t>(other)] || !at_stage(3)) return false;
      s.add = other;
      return true;
    }
    case Op::leaky_relu:
    case Op::silu:
      if (!at_stage(4)) return false;
      s.activation = n.op == Op::silu ? Activation::silu : Activation::leaky_relu;
      s.slope = n.slope;
      return true;
    case Op::input:
    case Op::affine:
    case Op::conv2d:
    case Op::linear:
    case Op::group_norm:
    case Op::avg_pool:
    case Op::upsample:
    case Op::unshuffle:
    case Op::concat:
    case Op::sum_pool:
    case Op::mean_pool:
    case Op::flatten:
    case Op::inner:
    case Op::half_square:
    case Op::squeeze:
    case Op::label_planes:
    case Op::attention:
    case Op::dropout:
      return false;
  }
  nn::unhandled(n.op, "engine on tensors");
}

}  // namespace igebm::engine
