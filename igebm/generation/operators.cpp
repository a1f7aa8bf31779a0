#include "igebm/generation/operators.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <tuple>

#include "igebm/base/error.h"

namespace igebm::generation {
namespace {

/// left X right^T of each channel, on x's device.
at::Tensor both_sides(const at::Tensor& left, const at::Tensor& x, const at::Tensor& right) {
  return at::matmul(at::matmul(left.to(x.device()), x), right.to(x.device()).t());
}

/// U (h, H), singular values (H) and V (H, H) of a matrix (h, H), with zeros for what it has fewer of.
std::tuple<at::Tensor, at::Tensor, at::Tensor> decompose(const at::Tensor& matrix) {
  const std::int64_t side = matrix.size(1);
  const auto [u, s, vt] = at::linalg_svd(matrix, /*full_matrices=*/true);
  const at::Tensor left = at::zeros({matrix.size(0), side}, matrix.options()),
                   values = at::zeros({side}, matrix.options());
  left.slice(1, 0, s.size(0)).copy_(u.slice(1, 0, s.size(0)));
  values.slice(0, 0, s.size(0)).copy_(s);
  return {left, values, vt.t().contiguous()};
}

at::Tensor gaussian_rows(double deviation, std::int64_t side) {
  const at::Tensor out = at::zeros({side, side}, at::kDouble);
  const auto reach = static_cast<std::int64_t>(std::ceil(4 * deviation));
  for (std::int64_t i = 0; i < side; ++i) {
    for (std::int64_t d = -reach; d <= reach; ++d) {
      const std::int64_t period = 2 * side, at = ((i + d) % period + period) % period;
      const double offset = static_cast<double>(d) / deviation;
      out[i][at < side ? at : period - 1 - at] += std::exp(-offset * offset / 2);
    }
  }
  return out / out.sum(1, /*keepdim=*/true);
}

at::Tensor mean_rows(std::int64_t factor, std::int64_t side) {
  const at::Tensor out = at::zeros({side / factor, side}, at::kDouble);
  for (std::int64_t i = 0; i < side; ++i) out[i / factor][i] = 1 / static_cast<double>(factor);
  return out;
}

}  // namespace

LinearOperator::LinearOperator(const at::Tensor& rows, const at::Tensor& columns) {
  if (rows.dim() != 2 || columns.dim() != 2 || rows.numel() == 0 || columns.numel() == 0)
    throw UserError("operator: expected two matrices");
  const auto [ul, sl, vl] = decompose(rows.to(at::kDouble));
  const auto [ur, sr, vr] = decompose(columns.to(at::kDouble));
  at::Tensor s = at::outer(sl, sr);
  s = at::where(s >= 1e-6 * s.max(), s, 0);
  rows_ = rows.to(at::kFloat), columns_ = columns.to(at::kFloat), singular_ = s.to(at::kFloat);
  left_of_rows_ = ul.to(at::kFloat), right_of_rows_ = vl.to(at::kFloat);
  left_of_columns_ = ur.to(at::kFloat), right_of_columns_ = vr.to(at::kFloat);
}

LinearOperator LinearOperator::blur(double deviation, std::int64_t height, std::int64_t width) {
  if (!(deviation > 0 && deviation <= static_cast<double>(std::max(height, width))))
    throw UserError(
        fmt::format("blur: expected a standard deviation above 0, up to {} pixels", std::max(height, width)));
  return {gaussian_rows(deviation, height), gaussian_rows(deviation, width)};
}

LinearOperator LinearOperator::downsample(std::int64_t factor, std::int64_t height, std::int64_t width) {
  if (factor < 2 || height % factor != 0 || width % factor != 0)
    throw UserError(fmt::format("downsample: expected a factor from 2 that divides {} and {}", height, width));
  return {mean_rows(factor, height), mean_rows(factor, width)};
}

at::Tensor LinearOperator::apply(const at::Tensor& x) const { return both_sides(rows_, x, columns_); }

at::Tensor LinearOperator::adjoint(const at::Tensor& y) const { return both_sides(rows_.t(), y, columns_.t()); }

at::Tensor LinearOperator::to_coordinates(const at::Tensor& x) const {
  return both_sides(right_of_rows_.t(), x, right_of_columns_.t());
}

at::Tensor LinearOperator::from_coordinates(const at::Tensor& z) const {
  return both_sides(right_of_rows_, z, right_of_columns_);
}

at::Tensor LinearOperator::observed(const at::Tensor& y) const {
  const at::Tensor s = singular_.to(y.device());
  return at::where(s > 0, both_sides(left_of_rows_.t(), y, left_of_columns_.t()) / s, 0);
}

}  // namespace igebm::generation
