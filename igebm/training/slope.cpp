#include "igebm/training/slope.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace igebm::training {

at::Tensor column(const at::Tensor& each, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = like.size(0);
  return each.reshape(shape);
}

Slope::Slope(const Step& step, const at::Tensor& x, const at::Tensor& labels, Of of)
    : step_(step), x_(x.detach()), labels_(labels), tangent_(step.frozen.tangent(x_, labels)) {
  if (tangent_) {
    energy_ = tangent_->energy;
    gradient_ = tangent_->gradient;
    return;
  }
  if (step.frozen.derives_parameters() && nn::is_smooth(step.graph)) {
    auto [energy, gradient] = step.frozen.given(labels)->energy_and_gradient(x_);
    energy_ = energy;
    gradient_ = gradient;
    return;
  }
  const at::AutoGradMode enable(true);
  for (const auto& [name, w] : step.weights) leaves_[name] = w.detach().requires_grad_();
  const at::Tensor leaf = x_.detach().requires_grad_();
  const nn::Dropout dropout{step.seed, step.step};
  const at::Tensor energy = nn::evaluate(step.graph, leaves_, leaf, labels, of == Of::training ? &dropout : nullptr);
  differentiable_ = torch::autograd::grad({energy.sum()}, {leaf}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  energy_ = energy.detach();
  gradient_ = differentiable_.detach();
}

void Slope::pull(const at::Tensor& v, const at::Tensor& c, nn::Tensors& into) const {
  if (tangent_) {
    tangent_->pull(column(c, v) * v, into);
    return;
  }
  if (!differentiable_.defined()) {
    const at::Tensor length = slope_step / v.flatten(1).square().mean(1).sqrt().clamp_min(1e-12);  // s of each
    const at::Tensor shift = column(length, v) * v, half = c / (2 * length);
    const at::Tensor labels = labels_.defined() ? at::cat({labels_, labels_}) : at::Tensor();
    step_.frozen.parameter_gradient(at::cat({x_ + shift, x_ - shift}), labels, at::cat({half, -half}), {}, into);
    return;
  }
  nn::add_gradients(differentiable_, column(c, v) * v, leaves_, into);
}

engine::Matched match_slope(const Step& step, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target,
                            double c, nn::Tensors& into, const engine::Motion* motion) {
  const at::Tensor coefficients = at::full({x.size(0)}, 2 * c, x.options());
  for (const engine::Motion* along : {motion, static_cast<const engine::Motion*>(nullptr)}) {
    engine::Matched matched = step.frozen.match(x, labels, target, coefficients, into, along);
    if (matched.gradient.defined()) return matched;
  }
  const Slope slope(step, x, labels);
  slope.pull(slope.gradient() - target, coefficients, into);
  return {slope.gradient(), {}};
}

}  // namespace igebm::training
