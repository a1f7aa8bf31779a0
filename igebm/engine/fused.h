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

}  // namespace igebm::engine::fused
