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

/// A Gaussian to four deviations, of sum 1, (1, 1, n, 1).
at::Tensor bell(double deviation) {
  const auto radius = static_cast<std::int64_t>(std::lround(4 * deviation));
  const at::Tensor at = at::arange(-radius, radius + 1, at::kFloat) / deviation, values = (at.square() / -2).exp();
  return (values / values.sum()).view({1, 1, -1, 1});
}

/// (N, 1, H, W) under a bell, in both ways.
at::Tensor smoothed(const at::Tensor& x, const at::Tensor& kernel) {
  const std::int64_t side = kernel.size(2) / 2;
  const std::vector<std::int64_t> one = {1, 1}, along = {side, 0}, across = {0, side};
  return at::conv2d(at::conv2d(x, kernel, {}, one, along), kernel.transpose(2, 3), {}, one, across);
}

/// The same at every fourth pixel.
at::Tensor pooled(const at::Tensor& x) {
  return smoothed(x, bell(pool_deviation)).slice(2, pool_first, {}, pool_stride).slice(3, pool_first, {}, pool_stride);
}

}  // namespace

at::Tensor oriented_gradients(const at::Tensor& pictures) {
  if (pictures.dim() != 4) throw UserError("oriented gradients: expected pictures (N, C, H, W)");
  const at::Tensor grey = in_unit(pictures).mean(1, /*keepdim=*/true);
  const at::Tensor x = at::constant_pad_nd(grey, {picture_margin, picture_margin, picture_margin, picture_margin}),
                   soft = smoothed(x, bell(blur_deviation));
  const at::Tensor across = soft.roll({-1}, {3}) - soft.roll({1}, {3}),
                   down = soft.roll({-1}, {2}) - soft.roll({1}, {2});
  const at::Tensor size = at::hypot(across, down);
  const at::Tensor place = at::atan2(down, across).mul_(directions / (2 * std::numbers::pi)), below = place.floor();
  const at::Tensor beyond = place - below, bin = below.remainder(directions);  // of the circle
  std::vector<at::Tensor> maps;
  for (std::int64_t k = 0; k < directions; ++k) {
    const at::Tensor share =
        at::where(bin.eq(k), 1 - beyond, 0) + at::where(bin.eq((k + directions - 1) % directions), beyond, 0);
    maps.push_back(pooled(size * share));
  }
  maps.push_back(pooled(x));
  return at::cat(maps, 1).clamp_min_(0).sqrt_().flatten(1);
}

}  // namespace igebm::evaluation
