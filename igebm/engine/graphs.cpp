#include "igebm/engine/graphs.h"

#include <algorithm>

namespace igebm::engine {

using nn::Node;
using nn::Op;

bool has_dropout(const nn::Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const Node& n) { return n.op == Op::dropout && n.rate > 0; });
}

nn::Graph without_dropout(const nn::Graph& graph) {
  nn::Graph out = graph;
  out.nodes.clear();
  std::vector<int> now;  // the index of each node's value
  for (Node n : graph.nodes) {
    for (int& input : n.inputs) input = now[static_cast<std::size_t>(input)];
    now.push_back(n.op == Op::dropout ? n.inputs[0] : out.add(std::move(n)));
  }
  out.nodes.resize(static_cast<std::size_t>(now.back()) + 1);  // the last node's value is the graph's
  return out;
}

double operations(const nn::Graph& graph) {
  const auto shapes = nn::shapes(graph);
  double sum = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& n = graph.nodes[i];
    sum += nn::operation(n.op).cost(n, nn::input_shapes(n, shapes), shapes[i]);
  }
  return sum;
}

}  // namespace igebm::engine
