#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "igebm/generation/normaliser.h"
#include "igebm/generation/terms.h"

namespace igebm::generation {

/// A part of a composition: a term, an "and" or an "or".
struct Node {
  std::string text;
  std::size_t column = 1;
  EnergyAt own;  // of a term, in the composition's range
  std::shared_ptr<const model::Model> model;
  nn::Condition condition;
  double factor = 1;  // to the model's range
  bool disjunction = false;
  std::vector<std::shared_ptr<Node>> parts;
  std::vector<double> weights;     // signed; of an "or" the shares
  double least = 1, greatest = 1;  // W, the sum of its terms' weights: of an "or" those of its parts
  bool normalised = false;
  std::vector<std::optional<Normaliser>> normalisers;  // of an "or"'s parts, in units of their models' noise

  bool term() const { return parts.empty(); }
  bool unknown(std::size_t i) const { return disjunction && !parts[i]->normalised && !normalisers[i]; }
  double log_z(std::size_t i, double sigma) const {
    return normalisers[i] ? normalisers[i]->at(sigma * parts[i]->factor) : 0;
  }

  /// Is it made of densities alone, with weights above 0?
  bool positive() const;

  energy::EnergyPtr at(double sigma) const;
  /// Whose slope leads from a noise level to the next with steps made for the weight `greatest`. Parts of an "or" that
  /// differ in W have different noise, sigma / sqrt(W_i), and their chains come to the next level at the pace sigma^2 /
  /// W_i dE_i/dx; a mixture's moves at the mean of its parts' paces, by their shares at x. One W for all would put the
  /// parts' shares wrong. Where the "or" is within an "and", W at x is the mean of its parts' likewise.
  energy::EnergyPtr descent(double sigma) const;
};

/// Calls visit(node, i) for each part i of an "or" whose log Z is not known, what lies deeper first.
template <class NodeType, class Visit>
void each_unknown(NodeType& node, const Visit& visit) {
  for (std::size_t i = 0; i < node.parts.size(); ++i) {
    each_unknown(*node.parts[i], visit);  // what lies deeper first
    if (node.unknown(i)) visit(node, i);
  }
}

}  // namespace igebm::generation
