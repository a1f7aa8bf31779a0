#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "igebm/engine/engine.h"
#include "igebm/nn/network.h"

/// What Prepared::match takes with a Motion, and its gradient by autograd.
namespace igebm::engine {

struct Joint {
  at::Tensor target, coefficients;
  Motion motion;
};

inline Joint random_joint(const nn::Graph& graph, const at::Tensor& x, const at::Tensor& labels) {
  const at::Tensor moved = graph.conditions > 0 ? at::randn_like(labels) : at::Tensor();
  const auto each = [&] { return at::randn({x.size(0)}); };
  return {at::randn_like(x), each(), {at::randn_like(x), moved, -0.7, each(), each()}};
}

/// The gradient of sum_i [c_i / 2 |dE/dx - target|^2 + weights_i / 2 r_i^2] by autograd in double; the residuals.
inline at::Tensor joint_by_autograd(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                                    const at::Tensor& labels, const Joint& j, nn::Tensors& want) {
  nn::EffectiveWeights leaves;
  for (const auto& [name, w] : weights) leaves[name] = w.to(at::kDouble).detach().requires_grad_();
  const bool moves = j.motion.labels_dot.defined();
  const at::Tensor leaf = x.to(at::kDouble).detach().requires_grad_(),
                   at_labels = moves ? labels.to(at::kDouble).detach().requires_grad_() : labels,
                   e = nn::evaluate(graph, leaves, leaf, at_labels);
  std::vector<at::Tensor> of = {leaf};
  if (moves) of.push_back(at_labels);
  const auto slopes = torch::autograd::grad({e.sum()}, of, {}, true, true, /*allow_unused=*/true);
  const auto each = [](const at::Tensor& a, const at::Tensor& b) { return (a * b).flatten(1).sum(1); };
  at::Tensor r = j.motion.offsets + j.motion.energy_rate * e + each(slopes[0], j.motion.x_dot);
  if (moves && slopes[1].defined()) r = r + each(slopes[1], j.motion.labels_dot);
  const at::Tensor off = slopes[0] - j.target,
                   loss = (0.5 * j.coefficients * each(off, off) + 0.5 * j.motion.weights * r.square()).sum();
  nn::add_gradients(loss, at::ones({}, at::kDouble), leaves, want);
  return r.detach();
}

/// The Hessian times v by autograd twice, in double.
inline at::Tensor product_by_autograd(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                                      const at::Tensor& labels, const at::Tensor& v) {
  nn::EffectiveWeights exact;
  for (const auto& [name, w] : weights) exact[name] = w.to(at::kDouble);
  const at::Tensor leaf = x.to(at::kDouble).detach().requires_grad_();
  const at::Tensor slope =
      torch::autograd::grad({nn::evaluate(graph, exact, leaf, labels).sum()}, {leaf}, {}, true, true)[0];
  if (!slope.requires_grad()) return at::zeros_like(leaf);
  const at::Tensor product = torch::autograd::grad({(slope * v).sum()}, {leaf}, {}, false, false, true)[0];
  return product.defined() ? product : at::zeros_like(leaf);
}

}  // namespace igebm::engine
