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

}  // namespace igebm::energy
