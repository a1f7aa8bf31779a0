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

/// SiLU's second derivative.
at::Tensor silu_curvature(const at::Tensor& z) {
  const at::Tensor s = at::sigmoid(z);
  return s * (1 - s) * (2 + z * (1 - 2 * s));
}

/// A group norm of pictures seen as (N, groups, C / groups, H, W), all in the parameters' type.
class Grouped {
 public:
  Grouped(const fused::GroupNorm& n, const fused::GroupNormTangent& t)
      : n_(n),
        sizes_({t.x.size(0), n.groups, t.x.size(1) / n.groups, t.x.size(2), t.x.size(3)}),
        reciprocal(row(t.reciprocal)),
        normal((group(t.x) - row(t.mean)) * reciprocal),
        weight(channel(n.weight)),
        y(normal * weight + channel(n.bias)) {}

  at::Tensor group(const at::Tensor& x) const { return x.to(n_.weight.scalar_type()).reshape(sizes_); }
  at::Tensor row(const at::Tensor& t) const { return t.reshape({sizes_[0], sizes_[1], 1, 1, 1}); }
  at::Tensor mean(const at::Tensor& t) const { return t.mean({2, 3, 4}, true); }
  /// The derivative of the normalised x.
  at::Tensor normal_dot(const fused::GroupNormTangent& t) const {
    return reciprocal * (group(t.dot) - row(t.mean_dot) - normal * row(t.product));
  }
  at::Tensor back(const at::Tensor& t, const at::Tensor& like) const {
    return t.reshape(like.sizes()).to(like.scalar_type());
  }
  at::Tensor each_channel(const at::Tensor& t) const {  // sums over pixels, (N, C)
    return t.sum({3, 4}).reshape({sizes_[0], sizes_[1] * sizes_[2]});
  }

 private:
  at::Tensor channel(const at::Tensor& t) const { return t.reshape({1, sizes_[1], sizes_[2], 1, 1}); }

  const fused::GroupNorm& n_;
  std::vector<std::int64_t> sizes_;

 public:
  at::Tensor reciprocal, normal, weight, y;
};

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

at::Tensor block_sums(const at::Tensor& x, std::int64_t k, double scale) {
  at::Tensor out;
  if (fused::block_sums(x, k, scale, out)) return out;
  const double of_mean = scale * static_cast<double>(k * k);
  out = at::avg_pool2d(x, k);
  return of_mean == 1 ? out : out * of_mean;
}

at::Tensor spread(const at::Tensor& x, std::int64_t k, double scale) {
  at::Tensor out;
  if (fused::spread(x, k, scale, out)) return out;
  out = at::upsample_nearest2d(x, {x.size(2) * k, x.size(3) * k});
  return scale == 1 ? out : out * scale;
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

at::Tensor activation_backward_tangent(Activation activation, double slope, const at::Tensor& z,
                                       const at::Tensor& z_dot, const at::Tensor& g, const at::Tensor& g_dot) {
  at::Tensor out;
  if (g_dot.defined()) out = activation_backward(activation, slope, z, g_dot, {});
  if (activation != Activation::silu) return out;  // the others are straight
  const at::Tensor bent = (g * silu_curvature(z) * z_dot).to(z.scalar_type());
  return out.defined() ? out + bent : bent;
}

at::Tensor norm_tangent(const fused::GroupNorm& n, fused::GroupNormTangent& t) {
  at::Tensor y_dot;
  if (fused::group_norm_tangent(n, t, y_dot)) return y_dot;
  const Grouped in(n, t);
  const at::Tensor dot = in.group(t.dot);
  t.mean_dot = in.mean(dot).flatten(1);
  t.product = in.mean(dot * in.normal).flatten(1);
  y_dot = in.normal_dot(t) * in.weight;
  if (n.silu) y_dot = at::silu_backward(y_dot, in.y);
  return in.back(y_dot, t.dot);
}

at::Tensor norm_backward_tangent(const fused::GroupNorm& n, const fused::GroupNormTangent& t,
                                 const fused::GroupNormPull& pull, at::Tensor& of_weight, at::Tensor& of_bias) {
  at::Tensor out;
  if (fused::group_norm_gradient_tangent(n, t, pull, out, of_weight, of_bias)) return out;
  const Grouped in(n, t);
  const auto sum = [&](const at::Tensor& first, const at::Tensor& second) {
    if (!first.defined()) return at::zeros_like(in.normal);
    return second.defined() ? in.group(first) + in.group(second) : in.group(first);
  };
  const at::Tensor normal_dot = in.normal_dot(t);
  at::Tensor g = sum(pull.first, pull.second), g_dot = sum(pull.first_dot, pull.second_dot);
  if (n.silu) {
    g_dot = at::silu_backward(g_dot, in.y) + g * silu_curvature(in.y) * normal_dot * in.weight;
    g = at::silu_backward(g, in.y);
  }
  of_weight = in.each_channel(g_dot * in.normal + g * normal_dot);
  of_bias = in.each_channel(g_dot);
  const at::Tensor q = g * in.weight, q_dot = g_dot * in.weight;
  const at::Tensor along = in.mean(q * in.normal), flat = q - in.mean(q) - in.normal * along;
  out = in.reciprocal *
        (q_dot - in.mean(q_dot) - normal_dot * along - in.normal * in.mean(q_dot * in.normal + q * normal_dot) -
         flat * in.row(t.product) * in.reciprocal);
  return in.back(out, t.x);
}

}  // namespace igebm::engine
