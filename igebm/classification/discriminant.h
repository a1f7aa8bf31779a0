#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace igebm::classification {

/// Classes as Gaussians of one covariance in given features, from sums that records are added to one by one, in any
/// order (streaming linear discriminant analysis, Hayes & Kanan 2020, arXiv 1909.01520).
class Discriminant {
 public:
  Discriminant(std::int64_t features, std::int64_t classes);
  /// f: (n, F) float; labels: (n) int64, below `classes`.
  void add(const at::Tensor& f, const at::Tensor& labels);
  /// log p(f | class) but for what classes share, of f (n, F): (n, K) double; a class without records is unlikely
  /// without end.
  at::Tensor log_densities(const at::Tensor& f) const;
  std::int64_t numbers() const;  ///< that are kept: sums, and products once

 private:
  void solve() const;
  at::Tensor sums_, products_, counts_;  // (K, F), (F, F), (K) double
  mutable at::Tensor weights_, bias_;    // (F, K), (K) double; undefined where records came since
};

}  // namespace igebm::classification
