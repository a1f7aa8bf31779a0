#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace igebm::classification {

/// How covariances of classes are made from their records' (Friedman 1989, "Regularized discriminant analysis"). Both
/// were chosen on held-out training pictures (docs/results/continual.md).
struct OrientedEnergyOptions {
  double shared = 0.9;  ///< weight of the classes' mean covariance; 0: each class has its own, 1: all have that one
  double ridge = 0.03;  ///< added to all variances, times their mean
};

/// A quadratic energy for each class of pictures in their oriented gradients (oriented_gradients.h), features that are
/// fixed, with its log Z: -log p is that of a Gaussian (Kimura et al. 1987 have it of characters). What is kept of a
/// class is its own records' mean and covariance, of one pass in any order; the covariance that classes share is the
/// mean of those that were learned so far.
class OrientedEnergies {
 public:
  /// For classes 0 to `classes` - 1.
  explicit OrientedEnergies(std::int64_t classes, const OrientedEnergyOptions& options = {});
  /// All records of classes that are new: uint8 or float (N, C, H, W) in [0, 1], labels (N) int64. Throws UserError
  /// where x are no pictures, a class has fewer than two, or was learned before.
  void learn(const at::Tensor& x, const at::Tensor& labels);
  /// log p(features of x | class) but for a number that all classes share, -infinity for those not learned: (N, K)
  /// double.
  at::Tensor log_densities(const at::Tensor& x) const;
  /// Parameters that are kept.
  std::int64_t numbers() const;

 private:
  struct Moments {
    at::Tensor mean, covariance;  ///< (d), (d, d) double; undefined before the class was learned
  };
  OrientedEnergyOptions options_;
  std::vector<Moments> classes_;
};

}  // namespace igebm::classification
