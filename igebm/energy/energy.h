#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace igebm::energy {

struct EnergyAndGradient {
  at::Tensor energy;    ///< (N)
  at::Tensor gradient;  ///< like x
};

/// E(x), lower is likelier: p(x) is proportional to exp(-E(x)). Labels are bound beforehand (Prepared::given), so
/// samplers and compositions never hear of them. What an energy may offer beside, for speed: capabilities.h.
///
/// Called from one thread at a time unless a subclass says more. Energies are immutable to their users, hence const
/// throughout.
class Energy {
 public:
  virtual ~Energy() = default;

  /// (N, ...) -> (N), differentiable by autograd in x.
  virtual at::Tensor energy(const at::Tensor& x) const = 0;

  /// E(x) and dE/dx, both detached. By autograd unless a subclass knows better.
  virtual EnergyAndGradient energy_and_gradient(const at::Tensor& x) const;

  /// The Hessian of E at each row of x times that row of v, like x, detached. By autograd twice unless a subclass knows
  /// better: energy() must then be differentiable so.
  virtual at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const;
};

using EnergyPtr = std::shared_ptr<const Energy>;

}  // namespace igebm::energy
