#pragma once

#include "igebm/engine/fused.h"

/// The operations of fused.h on any tensors: by its kernels, or where there is none for them by plain tensor
/// operations.
namespace igebm::engine {

/// (C) or (N, C) as it stands beside (N, C, ...) of `dims` dimensions.
at::Tensor like_channels(const at::Tensor& rows, std::int64_t dims);

/// fused::epilogue.
void finish(const fused::Epilogue& e, const at::Tensor& a, at::Tensor& z, at::Tensor& y);
/// fused::activation_gradient.
at::Tensor activation_backward(fused::Activation activation, double slope, const at::Tensor& z, const at::Tensor& first,
                               const at::Tensor& second);
/// fused::block_sums.
at::Tensor block_sums(const at::Tensor& x, std::int64_t k, double scale);
/// fused::spread.
at::Tensor spread(const at::Tensor& x, std::int64_t k, double scale);
/// fused::group_norm.
void norm_forward(const fused::GroupNorm& n, const at::Tensor& x, at::Tensor& y, at::Tensor& mean,
                  at::Tensor& reciprocal);
/// fused::group_norm_gradient.
at::Tensor norm_backward(const fused::GroupNorm& n, const at::Tensor& x, const at::Tensor& mean,
                         const at::Tensor& reciprocal, const at::Tensor& first, const at::Tensor& second);

/// The derivative of activation_backward's result along z's, z_dot, and the gradient's, g_dot (undefined: 0), at the
/// gradient g.
at::Tensor activation_backward_tangent(fused::Activation activation, double slope, const at::Tensor& z,
                                       const at::Tensor& z_dot, const at::Tensor& g, const at::Tensor& g_dot);
/// fused::group_norm_tangent.
at::Tensor norm_tangent(const fused::GroupNorm& n, fused::GroupNormTangent& t);
/// fused::group_norm_gradient_tangent.
at::Tensor norm_backward_tangent(const fused::GroupNorm& n, const fused::GroupNormTangent& t,
                                 const fused::GroupNormPull& pull, at::Tensor& of_weight, at::Tensor& of_bias);

}  // namespace igebm::engine
