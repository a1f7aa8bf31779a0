#pragma once

#include <ATen/core/Tensor.h>

/// How odd inputs are, by figures of each that are fitted on usual ones.
namespace igebm::scoring {

/// Squared Mahalanobis distance (z - m)^T (S + r diag S)^-1 (z - m) to the mean m and covariance S of usual inputs'
/// figures; r = 1e-6 keeps S invertible where figures follow from one another. Computed in double, of figures that have
/// been made alike in size.
class Mahalanobis {
 public:
  /// figures (N, F), N at least 2 F. Throws UserError for fewer, and for numbers that are not finite.
  explicit Mahalanobis(const at::Tensor& figures);
  /// Of what mean() and factor() of another were.
  Mahalanobis(at::Tensor mean, at::Tensor factor) : mean_(std::move(mean)), factor_(std::move(factor)) {}

  at::Tensor of(const at::Tensor& figures) const;       ///< (N, F) -> (N); infinite where a figure is not finite
  const at::Tensor& mean() const { return mean_; }      ///< (F)
  const at::Tensor& factor() const { return factor_; }  ///< (F, F): W with |(z - m) W|^2 the distance
 private:
  at::Tensor mean_, factor_;
};

/// The odder of two: the logarithm of a Mahalanobis distance, which is great where figures are unlike usual ones, and
/// an excess, which is great on one side alone. Both are standardised by usual inputs.
class Anomaly {
 public:
  /// figures (N, F) and excess (N), or undefined: none, of usual inputs.
  Anomaly(const at::Tensor& figures, const at::Tensor& excess);
  /// What `numbers` and the distance of another were.
  Anomaly(Mahalanobis distance, at::Tensor numbers) : distance_(std::move(distance)), numbers_(std::move(numbers)) {}

  /// From now on 0 is the mean, and 1 a deviation, of usual inputs that the score was not fitted on: those that it was
  /// fitted on are nearer than others.
  void standardise(const at::Tensor& figures, const at::Tensor& excess);

  at::Tensor of(const at::Tensor& figures, const at::Tensor& excess) const;  ///< (N), 1 for a deviation
  const Mahalanobis& distance() const { return distance_; }
  /// (6): mean and deviation of the distance's logarithm, and of the excess, NaN where there is none; and of the
  /// greater of the two, by `standardise`.
  const at::Tensor& numbers() const { return numbers_; }

 private:
  Mahalanobis distance_;
  at::Tensor numbers_;
};

/// (rank + 1) / (n + 1) of each of `scores` (N) among n usual inputs' `scores`, rank the number of those that are as
/// great or greater: the probability of a score so great where an input is as usual as they are. (N) double.
at::Tensor p_values(const at::Tensor& scores, const at::Tensor& usual);

}  // namespace igebm::scoring
