#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

/// What tells classes apart by closed forms: learned in one pass but for mixtures, and nothing of one class by another.
namespace igebm::classification {

/// Densities of classes, each fitted on its own class's records alone.
class ClassDensities {
 public:
  virtual ~ClassDensities() = default;
  /// log p(x | class) but for a number that all classes share: (N, K) double, of uint8 (N, C, H, W) or float (N, ...).
  virtual at::Tensor of(const at::Tensor& x) const = 0;
  /// That may be told apart: parameters.
  virtual std::int64_t numbers() const = 0;
};

/// One Gaussian a class, of the records' mean and covariance + ridge I; pixels are in [0, 1].
std::unique_ptr<ClassDensities> gaussians(const at::Tensor& x, const at::Tensor& labels, std::int64_t classes,
                                          double ridge = 0.05);

/// A mixture of probabilistic principal component analysers a class (Tipping & Bishop 1999): `parts` Gaussians, each
/// with `dimensions` directions of its own and one variance, at least `floor`, for all others. Begun by k-means, then
/// `rounds` of expectation maximisation: many passes over the class's records.
struct AnalyserOptions {
  std::int64_t parts = 10, dimensions = 20, rounds = 5;
  double floor = 3e-3;
  std::uint64_t seed = 0;
};
std::unique_ptr<ClassDensities> analysers(const at::Tensor& x, const at::Tensor& labels, std::int64_t classes,
                                          const AnalyserOptions& options);

}  // namespace igebm::classification
