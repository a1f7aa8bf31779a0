#pragma once

#include <cstdint>
#include <vector>

#include "igebm/energy/capabilities.h"

/// Energies from energies (Du et al. 2020; Liu et al. 2022). Gradients are put together from the parts' own, so that
/// fast energies stay fast.
namespace igebm::energy {

/// What compositions share: work in place always, a plain loop and recordings where all their parts have them.
/// `energy` and `energy_and_gradient` may be called from as many threads at once as the parts allow; in place from one.
class Composition : public Energy, public InPlace, public PlainLoop, public Recordable {
 public:
  /// Throws UserError, naming `who`, if there is no part.
  Composition(const char* who, std::vector<EnergyPtr> parts);
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const final;
  void energy_and_gradient_into(const at::Tensor& x, EnergyAndGradient& out) const final;
  bool takes(std::int64_t elements) const override;
  Recordings* recordings() const final;

 protected:
  /// What calls in place write again and again.
  struct Scratch {
    bool in_place = false;
    std::vector<EnergyAndGradient> results;  // one for each part: what one leaves may not be another's to write in
    at::Tensor input, product;
  };
  const std::vector<EnergyPtr>& parts() const { return parts_; }
  /// Part i's, kept in `scratch`. Not to be changed there: the part may hold on to it.
  const EnergyAndGradient& result(std::size_t i, const at::Tensor& x, Scratch& scratch) const;
  /// E and dE/dx into `out`, whose tensors are written again where they fit.
  virtual void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const = 0;

 private:
  std::vector<EnergyPtr> parts_;
  mutable Scratch scratch_;
  mutable Recordings recordings_;  // after the parts, whose memory they use
};

/// E = sum_i w_i E_i: the product of the densities, "and". A negative weight is "not".
class Sum : public Composition {
 public:
  /// weights empty: all 1. Throws UserError if there is not one for each part.
  explicit Sum(std::vector<EnergyPtr> parts, std::vector<double> weights = {});
  at::Tensor energy(const at::Tensor& x) const override;
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override;
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;

 protected:
  void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const override;

 private:
  std::vector<double> weights_;
};

/// E = -log sum_i w_i exp(-E_i): the mixture of the densities, "or". Weights are used as given.
class Mixture : public Composition {
 public:
  explicit Mixture(std::vector<EnergyPtr> parts, std::vector<double> weights = {});
  at::Tensor energy(const at::Tensor& x) const override;
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override;
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;

 protected:
  void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const override;

 private:
  std::vector<double> log_weights_;
};

/// E(x) = E'(x where free, else fixed): the density conditioned on some elements, as for inpainting. The gradient is 0
/// where they are fixed.
class Masked : public Composition {
 public:
  /// free and fixed broadcast over the batch: free is 1 (or true) where x counts and 0 where `fixed` does. They lie on
  /// x's device; x of another is a UserError.
  Masked(EnergyPtr part, const at::Tensor& free, const at::Tensor& fixed);
  at::Tensor energy(const at::Tensor& x) const override;
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override;
  /// Not where chains have masks of their own.
  bool takes(std::int64_t elements) const override;
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;

 protected:
  void combine(const at::Tensor& x, Scratch& scratch, EnergyAndGradient& out) const override;

 private:
  at::Tensor fixed_for(const at::Tensor& x) const;  // of x's type
  at::Tensor free_, fixed_;                         // free_ bool
  // For evaluate, element by element; empty where the part has no such loop.
  std::vector<unsigned char> free_elements_;
  std::vector<float> fixed_elements_;
};

EnergyPtr negation(EnergyPtr part);  ///< -E
/// E(x) = scale E'(factor x + shift): an energy of input that was brought to another size or range.
EnergyPtr rescaled(EnergyPtr part, double factor, double scale, double shift = 0);
/// E(x) = E'(x) + precision |x|^2 / 2 + constant: times a Gaussian density around 0, or beside one's energy.
EnergyPtr beside_gaussian(EnergyPtr part, double precision, double constant = 0);
EnergyPtr tempered(EnergyPtr part, double temperature);  ///< E / T; throws UserError unless T > 0

}  // namespace igebm::energy
