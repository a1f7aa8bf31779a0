#include "igebm/evaluation/fidelity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"

namespace igebm::evaluation {

double psnr(const at::Tensor& x, const at::Tensor& truth, const at::Tensor& where) {
  const at::Tensor square = (x - truth).to(at::kDouble).square();
  const double error =
      (where.defined() ? square.masked_select(where.expand(square.sizes())) : square).mean().item<double>();
  return -10 * std::log10(std::max(error, 1e-12));
}

double ssim(const at::Tensor& x, const at::Tensor& truth) {
  constexpr std::int64_t side = ssim_window;
  if (x.dim() != 4 || x.sizes() != truth.sizes() || x.size(2) < side || x.size(3) < side)
    throw UserError("ssim: expected pictures of one size, from 11 x 11");
  const at::Tensor offsets = at::arange(side, at::kDouble) - (side - 1) / 2;
  at::Tensor line = at::exp(offsets.square() / (-2 * 1.5 * 1.5));
  line = line / line.sum();
  const auto windows = [&](const at::Tensor& t) {
    const at::Tensor planes = t.to(at::kDouble).flatten(0, 1).unsqueeze(1);
    return at::conv2d(at::conv2d(planes, line.view({1, 1, 1, side})), line.view({1, 1, side, 1}));
  };
  const at::Tensor a = x.to(at::kDouble), b = truth.to(at::kDouble);
  const at::Tensor mean_a = windows(a), mean_b = windows(b);
  const at::Tensor var_a = windows(a * a) - mean_a * mean_a, var_b = windows(b * b) - mean_b * mean_b,
                   cov = windows(a * b) - mean_a * mean_b;
  constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const at::Tensor all =
      (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2));
  return all.mean().item<double>();
}

}  // namespace igebm::evaluation
