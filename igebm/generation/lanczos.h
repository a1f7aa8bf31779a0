#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

/// Eigenvectors of a matrix that is known by its products alone, such as an energy's Hessian
/// (Energy::hessian_product).
namespace igebm::generation {

/// v (N, n) double -> (N, n): a symmetric matrix of each row's own times that row.
using SymmetricProduct = std::function<at::Tensor(const at::Tensor& v)>;

struct LanczosOptions {
  std::int64_t count = 1;      ///< eigenvectors of each matrix, at most n
  bool least = false;          ///< of the least eigenvalues instead of the greatest
  std::int64_t steps = 200;    ///< at most, one product each; no more than n are taken
  double tolerance = 1e-3;     ///< enough: residual / greatest |eigenvalue|
  std::uint64_t seed = 0;      ///< of the first vector
  std::int64_t first_row = 0;  ///< its number in the stream, so that a row's vector does not go by its place in x
};

struct Eigenpairs {
  at::Tensor values;     ///< (N, count) double, from the end on
  at::Tensor vectors;    ///< (N, count, n) double, orthonormal; the element of the greatest size is positive
  at::Tensor residuals;  ///< (N, count) |A v - value v|: an eigenvalue is as near as that
  std::int64_t products = 0;
};

/// Lanczos' iteration (Golub & Van Loan, Matrix Computations, section 10.1) for N matrices side by side, with full
/// reorthogonalisation. Where a Krylov space ends before `count` vectors, it goes on with a new direction. Throws
/// UserError.
Eigenpairs lanczos(const SymmetricProduct& product, std::int64_t rows, std::int64_t elements,
                   const LanczosOptions& options);

}  // namespace igebm::generation
