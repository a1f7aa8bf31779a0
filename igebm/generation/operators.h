#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace igebm::generation {

/// A linear operator A on pictures, each channel alike, that acts on rows and columns apart: A X = L X R^T. Its
/// singular value decomposition is that of two small matrices, at any size of picture: in the coordinates z = V_L^T X
/// V_R, an orthogonal change of X, A multiplies each by a number of its own.
class LinearOperator {
 public:
  /// rows: L (h, H), columns: R (w, W), of double. Throws UserError where they are no matrices.
  LinearOperator(const at::Tensor& rows, const at::Tensor& columns);

  /// Gaussian blur of that standard deviation in pixels, above 0. At the edges the picture is mirrored.
  static LinearOperator blur(double deviation, std::int64_t height, std::int64_t width);
  /// Means of blocks of factor x factor pixels. Throws UserError unless both sides divide by factor, above 1.
  static LinearOperator downsample(std::int64_t factor, std::int64_t height, std::int64_t width);

  at::Tensor apply(const at::Tensor& x) const;    ///< (N, C, H, W) to (N, C, h, w)
  at::Tensor adjoint(const at::Tensor& y) const;  ///< A^T y, back
  at::Tensor to_coordinates(const at::Tensor& x) const;
  at::Tensor from_coordinates(const at::Tensor& z) const;
  /// What y says of each coordinate, (N, C, H, W): U^T y / singular, and 0 where that is 0.
  at::Tensor observed(const at::Tensor& y) const;
  /// What A multiplies each coordinate by, (H, W) float, at least 0; 0 too of those below 1e-6 of the greatest.
  const at::Tensor& singular() const { return singular_; }
  std::int64_t height() const { return rows_.size(0); }  ///< of A X
  std::int64_t width() const { return columns_.size(0); }

 private:
  at::Tensor rows_, columns_;                      // L and R, float
  at::Tensor left_of_rows_, right_of_rows_;        // U_L (h, H), V_L (H, H)
  at::Tensor left_of_columns_, right_of_columns_;  // U_R (w, W), V_R (W, W)
  at::Tensor singular_;
};

}  // namespace igebm::generation
