#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "igebm/energy/capabilities.h"

/// Energies with a formula, for tests, benchmarks and examples. x is (N, D), float or double; results have its type.
/// All of them may be called from several threads at once.
/// sample(n, seed) draws exactly, double (N, D); row i is a function of (seed, i).
namespace igebm::energy {

/// An energy whose normaliser is known: Z = integral of exp(-E(x)) dx.
class AnalyticEnergy : public Energy, public PlainLoop {
 public:
  virtual double log_z() const = 0;
};

/// E(x) = (x - mean)' precision (x - mean) / 2.
class Gaussian : public AnalyticEnergy {
 public:
  /// mean (D), covariance (D, D) symmetric positive definite; throws UserError otherwise.
  Gaussian(const at::Tensor& mean, const at::Tensor& covariance);
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  bool takes(std::int64_t elements) const override { return elements == mean_.size(0); }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  double log_z() const override { return log_z_; }
  at::Tensor sample(std::int64_t count, std::uint64_t seed) const;

 private:
  at::Tensor mean_, precision_, factor_;  // double; factor_ factor_' is the covariance
  std::vector<float> constants_;          // for evaluate: mean, then precision
  double log_z_;
};

/// E(x) = -log sum_i w_i N(x; mean_i, covariance_i), weights normalised: Z = 1.
class GaussianMixture : public AnalyticEnergy {
 public:
  /// weights (K) positive, means (K, D), spreads: standard deviations (K), positive, or covariances (K, D, D),
  /// symmetric positive definite; throws UserError otherwise.
  GaussianMixture(const at::Tensor& weights, const at::Tensor& means, const at::Tensor& spreads);
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  bool takes(std::int64_t elements) const override { return elements == 2 && !constants_.empty(); }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  double log_z() const override { return 0; }
  at::Tensor sample(std::int64_t count, std::uint64_t seed) const;

 private:
  at::Tensor whitened(const at::Tensor& x) const;  // (N, K, D): standard normal under component k
  // Double. heights_ (K): log w_i less the Gaussian's log normaliser; factors_ (K, D, D): factor factor' = covariance.
  at::Tensor weights_, heights_, means_, factors_, inverses_;
  bool isotropic_;
  std::vector<float> constants_;  // for evaluate: height, 1 / variance and mean of each component
};

/// E(x) = height sum_d (x_d^2 - 1)^2: 2^D wells at (+-1, ..., +-1).
class DoubleWell : public AnalyticEnergy {
 public:
  DoubleWell(std::int64_t dimensions, double height);
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  bool takes(std::int64_t elements) const override { return elements == dimensions_; }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  double log_z() const override;  ///< by the trapezoidal rule in one dimension, exact to rounding at any height

 private:
  std::int64_t dimensions_;
  double height_;
};

/// E(x) = min over rings, softly: -log sum_k exp(-(|x| - r_k)^2 / (2 width^2)), x in the plane.
class Rings : public AnalyticEnergy {
 public:
  Rings(std::vector<double> radii, double width);
  at::Tensor energy(const at::Tensor& x) const override;
  bool takes(std::int64_t elements) const override { return elements == 2; }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  double log_z() const override;  ///< in closed form, in polar coordinates

 private:
  std::vector<double> radii_;
  double width_;
};

/// Rosenbrock's banana as a sheared Gaussian: E(x) = x_1^2 / (2 a^2) + (x_2 - b (x_1^2 - a^2))^2 / 2, x in the plane.
class Banana : public AnalyticEnergy {
 public:
  Banana(double a, double b);
  at::Tensor energy(const at::Tensor& x) const override;
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override;
  bool takes(std::int64_t elements) const override { return elements == 2; }
  void evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                float* gradient) const override;
  double log_z() const override;  ///< log(2 pi a): a shear keeps the volume
  at::Tensor sample(std::int64_t count, std::uint64_t seed) const;

 private:
  double a_, b_;
};

}  // namespace igebm::energy
