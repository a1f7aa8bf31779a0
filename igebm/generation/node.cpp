#include "igebm/generation/node.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "igebm/energy/compose.h"

namespace igebm::generation {
namespace {

/// E, its gradient, and W (N) at each x.
struct Pull {
  at::Tensor energy, gradient, weight;
};

/// A number for each x, beside its elements.
at::Tensor beside(const at::Tensor& numbers, const at::Tensor& x) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
  shape[0] = numbers.size(0);
  return numbers.reshape(shape);
}

template <class NodeType>
Pull pull(const NodeType& node, double sigma, const at::Tensor& x) {
  if (node.term()) {
    const energy::EnergyAndGradient own = node.own(sigma)->energy_and_gradient(x);
    return {own.energy, own.gradient, at::full({x.size(0)}, node.least, x.options())};
  }
  std::vector<Pull> parts;
  for (const auto& part : node.parts) parts.push_back(pull(*part, sigma, x));
  if (!node.disjunction) {
    Pull sum{parts[0].energy * node.weights[0], parts[0].gradient * node.weights[0], parts[0].weight * node.weights[0]};
    for (std::size_t i = 1; i < parts.size(); ++i) {
      sum.energy.add_(parts[i].energy, node.weights[i]);
      sum.gradient.add_(parts[i].gradient, node.weights[i]);
      sum.weight.add_(parts[i].weight, node.weights[i]);
    }
    return sum;
  }
  std::vector<at::Tensor> logs;
  for (std::size_t i = 0; i < parts.size(); ++i)
    logs.push_back(std::log(node.weights[i]) - node.log_z(i, sigma) - parts[i].energy);
  const at::Tensor log = at::stack(logs), shares = log.softmax(0);
  Pull mixed{-log.logsumexp(0), at::zeros_like(x), at::zeros_like(parts[0].weight)};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    mixed.gradient.addcmul_(beside(shares[static_cast<std::int64_t>(i)] / parts[i].weight, x), parts[i].gradient);
    mixed.weight.addcmul_(shares[static_cast<std::int64_t>(i)], parts[i].weight);
  }
  mixed.gradient.mul_(beside(mixed.weight, x));
  return mixed;
}

template <class NodeType>
class Descent : public energy::Energy {
 public:
  Descent(const NodeType& node, double sigma) : node_(node), sigma_(sigma) {}
  at::Tensor energy(const at::Tensor& x) const override { return node_.at(sigma_)->energy(x); }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    const Pull p = pull(node_, sigma_, x);
    return {p.energy, p.gradient * beside(node_.greatest / p.weight, x)};
  }

 private:
  const NodeType& node_;
  double sigma_;
};

}  // namespace

bool Node::positive() const {
  return term() ? greatest > 0
                : std::ranges::all_of(weights, [](double w) { return w > 0; }) &&
                      std::ranges::all_of(parts, [](const auto& part) { return part->positive(); });
}

energy::EnergyPtr Node::at(double sigma) const {
  if (term()) return own(sigma);
  std::vector<energy::EnergyPtr> energies;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    energy::EnergyPtr e = parts[i]->at(sigma);
    if (disjunction && normalisers[i]) e = energy::beside_gaussian(e, 0, log_z(i, sigma));
    energies.push_back(std::move(e));
  }
  if (disjunction) return std::make_shared<energy::Mixture>(std::move(energies), weights);
  return std::make_shared<energy::Sum>(std::move(energies), weights);
}

energy::EnergyPtr Node::descent(double sigma) const { return std::make_shared<Descent<Node>>(*this, sigma); }

}  // namespace igebm::generation
