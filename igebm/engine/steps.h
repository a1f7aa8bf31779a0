#pragma once

#include <string>
#include <vector>

#include "igebm/engine/fused.h"
#include "igebm/nn/graph.h"

namespace igebm::engine {

/// A node, the head, and the elementwise nodes behind it that are done in the same pass (fused::Epilogue).
struct Step {
  int head = -1;   // -1: the value of `input` as it is
  int input = -1;  // the head's first input, or the value itself
  int value = -1;  // the node whose value this step makes: the last of those it covers
  std::string bias, label_bias, label_gain;
  int add = -1;  // the other summand
  fused::Activation activation = fused::Activation::none;
  double slope = 0;

  bool elementwise() const {
    return !bias.empty() || !label_bias.empty() || !label_gain.empty() || add >= 0 ||
           activation != fused::Activation::none;
  }
  /// May the value after a leaky ReLU stand for the one before it in the gradient?
  bool keeps_after() const { return activation == fused::Activation::leaky_relu && slope > 0; }
};

/// The graph as steps, in an order in which every value is there when it is needed.
class Steps {
 public:
  explicit Steps(const nn::Graph& graph);

  std::vector<Step> steps;

 private:
  const nn::Node& node(int i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }

  int only_user(int i) const {
    const auto& users = users_[static_cast<std::size_t>(i)];
    return users.size() == 1 ? users[0] : -1;
  }

  /// Adds an elementwise node on the value of node `on` to the step, if it comes in the epilogue's order.
  bool take(const nn::Node& n, int on, Step& s, int& stage) const;

  const nn::Graph& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> made_;
};

}  // namespace igebm::engine
