#pragma once

#include <ATen/core/Tensor.h>

/// The elementwise work of a network in as few passes over memory as a device has kernels for. Tensors are (N, C, H, W)
/// or (N, C), parameters and label rows of the type that sums are kept in.
///
/// Each function returns false, with nothing done, where this build and these tensors have no kernel for it; plain
/// tensor operations then do the same (operations.h).
namespace igebm::engine::fused {

enum class Activation { none, leaky_relu, silu };

/// z = (a + bias + label_bias) (1 + label_gain) + add, y = activation(z); what is undefined is left out.
struct Epilogue {
  at::Tensor bias;                    ///< (C)
  at::Tensor label_bias, label_gain;  ///< (N, C)
  at::Tensor add;                     ///< like a
  Activation activation = Activation::none;
  double slope = 0;  ///< of leaky_relu
};
bool epilogue(const Epilogue& e, const at::Tensor& a, at::Tensor& z, at::Tensor& y);

/// out = (first + second) * activation'(z); second may be undefined. Of leaky_relu with a positive slope, z may be y.
bool activation_gradient(Activation activation, double slope, const at::Tensor& z, const at::Tensor& first,
                         const at::Tensor& second, at::Tensor& out);

/// Sums over the k x k blocks of a picture, whose sides divide by k, times `scale`: with 1 / k^2, average pooling.
bool block_sums(const at::Tensor& x, std::int64_t k, double scale, at::Tensor& out);
/// Each pixel k x k times, times `scale`: what carries the gradient of block_sums back, and with 1, nearest upsampling.
bool spread(const at::Tensor& x, std::int64_t k, double scale, at::Tensor& out);

/// Group norm (Wu & He 2018) with eps 1e-5, followed by SiLU where `silu`.
struct GroupNorm {
  std::int64_t groups = 1;
  at::Tensor weight, bias;  ///< (C)
  bool silu = false;
};
/// mean and reciprocal: (N, groups), the reciprocal of the standard deviation.
bool group_norm(const GroupNorm& n, const at::Tensor& x, at::Tensor& y, at::Tensor& mean, at::Tensor& reciprocal);
/// The gradient of x from that of y, first + second; second may be undefined.
bool group_norm_gradient(const GroupNorm& n, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& reciprocal,
                         const at::Tensor& first, const at::Tensor& second, at::Tensor& out);

/// What group norm's derivative along a tangent needs beside GroupNorm.
struct GroupNormTangent {
  at::Tensor x, mean, reciprocal;  ///< of group_norm
  at::Tensor dot;                  ///< the derivative of x
  at::Tensor mean_dot, product;    ///< (N, groups): means over a group of dot, and of dot times the normalised x
};
/// y_dot, the derivative of y; fills mean_dot and product.
bool group_norm_tangent(const GroupNorm& n, GroupNormTangent& t, at::Tensor& y_dot);
/// The derivative of group_norm_gradient's result, where that of y's gradient, first + second, is first_dot +
/// second_dot (undefined: 0), and those of its gradients of weight and bias, (N, C) in their type, not yet summed over
/// N.
struct GroupNormPull {
  at::Tensor first, second, first_dot, second_dot;
};
bool group_norm_gradient_tangent(const GroupNorm& n, const GroupNormTangent& t, const GroupNormPull& pull,
                                 at::Tensor& out, at::Tensor& of_weight, at::Tensor& of_bias);

}  // namespace igebm::engine::fused
