#include "igebm/evaluation/oriented_gradients.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/evaluation/records.h"

namespace igebm::evaluation {
namespace {

constexpr std::int64_t directions = 8, picture_margin = 4;  // pixels of black around
constexpr std::int64_t pool_stride = 4, pool_first = 5;     // of the picture with its margin
constexpr double blur_deviation = 0.7, pool_deviation = 2;

/// (size, size): row i is a Gaussian about i, to four deviations, of sum 1 but for what lies beyond the ends.
at::Tensor smoothing(std::int64_t size, double deviation) {
  const double radius = static_cast<double>(std::lround(4 * deviation));
  const at::Tensor at = at::arange(size, at::kFloat), apart = at.unsqueeze(1) - at;
  const at::Tensor bell = (apart / deviation).square().div(-2).exp() * apart.abs().le(radius);
  const at::Tensor steps = at::arange(-radius, radius + 1, at::kFloat) / deviation;
  return bell / steps.square().div(-2).exp().sum();
}

/// down x across^T of each (H, W) of x.
at::Tensor in_both_ways(const at::Tensor& down, const at::Tensor& x, const at::Tensor& across) {
  return at::matmul(down, at::matmul(x, across.t()));
}

/// (N, C, H, W) under a Gaussian.
at::Tensor smoothed(const at::Tensor& x, double deviation) {
  return in_both_ways(smoothing(x.size(2), deviation), x, smoothing(x.size(3), deviation));
}

/// The same at every fourth pixel.
at::Tensor pooled(const at::Tensor& x) {
  const auto rows = [](std::int64_t size) {
    return smoothing(size, pool_deviation).slice(0, pool_first, {}, pool_stride);
  };
  return in_both_ways(rows(x.size(2)), x, rows(x.size(3)));
}

}  // namespace

at::Tensor oriented_gradients(const at::Tensor& pictures) {
  if (pictures.dim() != 4) throw UserError("oriented gradients: expected pictures (N, C, H, W)");
  const at::Tensor grey = in_unit(pictures).mean(1, /*keepdim=*/true);
  const at::Tensor x = at::constant_pad_nd(grey, {picture_margin, picture_margin, picture_margin, picture_margin}),
                   soft = smoothed(x, blur_deviation);
  const at::Tensor across = soft.roll({-1}, {3}) - soft.roll({1}, {3}),
                   down = soft.roll({-1}, {2}) - soft.roll({1}, {2});
  const at::Tensor size = at::hypot(across, down);
  const at::Tensor place = at::atan2(down, across).mul_(directions / (2 * std::numbers::pi)), below = place.floor();
  const at::Tensor beyond = place - below, bin = below.remainder(directions);  // of the circle
  std::vector<at::Tensor> maps;
  for (std::int64_t k = 0; k < directions; ++k) {
    const at::Tensor share =
        at::where(bin.eq(k), 1 - beyond, 0) + at::where(bin.eq((k + directions - 1) % directions), beyond, 0);
    maps.push_back(size * share);
  }
  maps.push_back(x);
  return pooled(at::cat(maps, 1)).clamp_min_(0).sqrt_().flatten(1);
}

}  // namespace igebm::evaluation
