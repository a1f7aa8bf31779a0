#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "igebm/scoring/noise_profile.h"

/// What tells odd pictures without a network.
namespace igebm::scoring {

/// Bytes of each picture, uint8 (N, C, H, W), as a PNG file: (N) double.
at::Tensor png_lengths(const at::Tensor& pictures);

/// The mean of |difference| of neighbouring pixels, to the right and below, in [0, 1]: (N) double, of uint8 (N, C, H,
/// W).
at::Tensor total_variations(const at::Tensor& pictures);

/// A Gaussian over pixels in [0, 1] with the mean and covariance of training pictures. With noise of deviation sigma,
/// its energy is E(x, sigma) = (x - m)^T (S + sigma^2 I)^-1 (x - m) / 2 + log det(S + sigma^2 I) / 2, so that all that
/// is asked of a model can be asked of it. In double but for the products, which are in float.
class PixelGaussian {
 public:
  /// pictures: uint8 (N, C, H, W), N at least 2; or points or anything else, float (N, ...), as it is.
  explicit PixelGaussian(const at::Tensor& pictures);
  /// Of what another's were.
  PixelGaussian(at::Tensor mean, at::Tensor vectors, at::Tensor values)
      : mean_(std::move(mean)), vectors_(std::move(vectors)), values_(std::move(values)) {}
  /// Of such.
  Profile profile(const at::Tensor& pictures, const std::vector<double>& sigmas) const;

  const at::Tensor& mean() const { return mean_; }        ///< (d) float
  const at::Tensor& vectors() const { return vectors_; }  ///< (d, d) float: of the covariance, in columns
  const at::Tensor& values() const { return values_; }    ///< (d) double

 private:
  at::Tensor mean_, vectors_, values_;
};

}  // namespace igebm::scoring
