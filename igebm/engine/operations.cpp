#include "igebm/engine/operations.h"

#include <ATen/ATen.h>

#include <tuple>

namespace igebm::engine {

using fused::Activation;

namespace {

at::Tensor activate(Activation activation, double slope, const at::Tensor& z) {
  if (activation == Activation::none) return z;
  return activation == Activation::silu ? at::silu(z) : at::leaky_relu(z, slope);
}

}  // namespace

at::Tensor like_channels(const at::Tensor& rows, std::int64_t dims) {
  at::Tensor out = rows.dim() == 1 ? rows.unsqueeze(0) : rows;
  while (out.dim() < dims) out = out.unsqueeze(-1);
  return out;
}

void finish(const fused::Epilogue& e, const at::Tensor& a, at::Tensor& z, at::Tensor& y) {
  if (fused::epilogue(e, a, z, y)) return;
  z = a;
  if (e.bias.defined()) z = z + like_channels(e.bias, a.dim());
  if (e.label_bias.defined()) z = z + like_channels(e.label_bias, a.dim());
  if (e.label_gain.defined()) z = z * (1 + like_channels(e.label_gain, a.dim()));
  if (e.add.defined()) z = z + e.add;
  z = z.to(a.scalar_type());
  y = activate(e.activation, e.slope, z);
}

at::Tensor activation_backward(Activation activation, double slope, const at::Tensor& z, const at::Tensor& first,
                               const at::Tensor& second) {
  at::Tensor out;
  if (fused::activation_gradient(activation, slope, z, first, second, out)) return out;
  out = (second.defined() ? first + second : first).to(z.scalar_type());
  return activation == Activation::silu ? at::silu_backward(out, z)
                                        : at::leaky_relu_backward(out, z, slope, /*self_is_result=*/false);
}

void norm_forward(const fused::GroupNorm& n, const at::Tensor& x, at::Tensor& y, at::Tensor& mean,
                  at::Tensor& reciprocal) {
  if (fused::group_norm(n, x, y, mean, reciprocal)) return;
  std::tie(y, mean, reciprocal) = at::native_group_norm(x.to(n.weight.scalar_type()).contiguous(), n.weight, n.bias,
                                                        x.size(0), x.size(1), x.size(2) * x.size(3), n.groups, 1e-5);
  y = y.to(x.scalar_type());
  if (n.silu) y = at::silu(y);
}

at::Tensor norm_backward(const fused::GroupNorm& n, const at::Tensor& x, const at::Tensor& mean,
                         const at::Tensor& reciprocal, const at::Tensor& first, const at::Tensor& second) {
  at::Tensor out;
  if (fused::group_norm_gradient(n, x, mean, reciprocal, first, second, out)) return out;
  const at::Tensor exact = x.to(n.weight.scalar_type()).contiguous();
  out = (second.defined() ? first + second : first).to(n.weight.scalar_type());
  if (n.silu) {
    const auto rows = [&](const at::Tensor& t) {
      return like_channels(t.repeat_interleave(x.size(1) / n.groups, 1), 4);
    };
    const at::Tensor z =
        (exact - rows(mean)) * rows(reciprocal) * like_channels(n.weight, 4) + like_channels(n.bias, 4);
    out = at::silu_backward(out, z);
  }
  return std::get<0>(at::native_group_norm_backward(out.contiguous(), exact, mean, reciprocal, n.weight, x.size(0),
                                                    x.size(1), x.size(2) * x.size(3), n.groups, {true, false, false}))
      .to(x.scalar_type());
}

}  // namespace igebm::engine
