#include "igebm/energy/energy.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace igebm::energy {

EnergyAndGradient Energy::energy_and_gradient(const at::Tensor& x) const {
  const at::AutoGradMode enable(true);
  const at::Tensor input = x.detach().requires_grad_();
  const at::Tensor e = energy(input);
  const auto gradients = torch::autograd::grad({e.sum()}, {input}, {}, /*retain_graph=*/false, /*create_graph=*/false,
                                               /*allow_unused=*/true);
  return {e.detach(), gradients[0].defined() ? gradients[0] : at::zeros_like(x)};
}

at::Tensor Energy::hessian_product(const at::Tensor& x, const at::Tensor& v) const {
  const at::AutoGradMode enable(true);
  const at::Tensor input = x.detach().requires_grad_();
  const auto along = [&](const at::Tensor& sum, bool twice) {
    if (!sum.requires_grad()) return at::Tensor{};
    return torch::autograd::grad({sum}, {input}, {}, /*retain_graph=*/twice, /*create_graph=*/twice,
                                 /*allow_unused=*/true)[0];
  };
  const at::Tensor gradient = along(energy(input).sum(), true);
  const at::Tensor product =
      gradient.defined() ? along((gradient * v.to(gradient.scalar_type())).sum(), false) : at::Tensor{};
  return product.defined() ? product : at::zeros_like(x);
}

}  // namespace igebm::energy
