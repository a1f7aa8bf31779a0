#pragma once

#include <vector>

#include "igebm/energy/energy.h"

/// Energies from energies (Du et al. 2020; Liu et al. 2022). Gradients are put together from the parts' own, so that
/// fast energies stay fast.
namespace igebm::energy {

/// E = sum_i w_i E_i: the product of the densities, "and". A negative weight is "not".
class Sum : public Energy {
 public:
  /// weights empty: all 1. Throws UserError if there is not one for each part.
  explicit Sum(std::vector<EnergyPtr> parts, std::vector<double> weights = {});
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  bool evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  Recordings* recordings() const override;

 private:
  std::vector<EnergyPtr> parts_;
  std::vector<double> weights_;
  mutable Recordings recordings_;  // after the parts, whose memory they use
};

/// E = -log sum_i w_i exp(-E_i): the mixture of the densities, "or". Weights are used as given.
class Mixture : public Energy {
 public:
  explicit Mixture(std::vector<EnergyPtr> parts, std::vector<double> weights = {});
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  Recordings* recordings() const override;

 private:
  std::vector<EnergyPtr> parts_;
  std::vector<double> log_weights_;
  mutable Recordings recordings_;  // after the parts, whose memory they use
};

/// E(x) = E'(x where free, else fixed): the density conditioned on some elements, as for inpainting. The gradient is 0
/// where they are fixed.
class Masked : public Energy {
 public:
  /// free and fixed broadcast over the batch: free is 1 (or true) where x counts and 0 where `fixed` does.
  Masked(EnergyPtr part, const at::Tensor& free, const at::Tensor& fixed);
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;

 private:
  EnergyPtr part_;
  at::Tensor free_, fixed_;  // bool
};

EnergyPtr negation(EnergyPtr part);  ///< -E
/// E(x) = scale E'(factor x): an energy of input that was brought to another size.
EnergyPtr rescaled(EnergyPtr part, double factor, double scale);
EnergyPtr tempered(EnergyPtr part, double temperature);  ///< E / T; throws UserError unless T > 0

}  // namespace igebm::energy
