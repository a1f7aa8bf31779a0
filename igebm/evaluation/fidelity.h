#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// How near pictures come to those that they should be. Pictures in [0, 1], shapes broadcast.
namespace igebm::evaluation {

/// Peak signal-to-noise ratio in dB, -10 log10 of the mean squared error over all, or where `where` (bool) is true; 120
/// where they are equal.
double psnr(const at::Tensor& x, const at::Tensor& truth, const at::Tensor& where = {});

/// Pixels a side of its window.
constexpr std::int64_t ssim_window = 11;
/// Structural similarity (Wang et al. 2004), mean over pictures: windows of 11 x 11 pixels weighted by a Gaussian of
/// deviation 1.5, K1 .01, K2 .03, where the window lies within the picture; channels apart. (N, C, H, W), both. Throws
/// UserError where pictures are smaller than the window.
double ssim(const at::Tensor& x, const at::Tensor& truth);

}  // namespace igebm::evaluation
