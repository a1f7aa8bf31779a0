#include "igebm/engine/fused.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "igebm/engine/cuda/kernels.h"

namespace igebm::engine::fused {
namespace {

void* stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

/// Are there kernels for values like these? Channels last without gaps, counted in 32 bits.
bool known(const at::Tensor& t) {
  return t.is_cuda() && (t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16) && t.numel() > 0 &&
         t.numel() < (std::int64_t{1} << 31) && (t.dim() == 2 || t.dim() == 4);
}

at::MemoryFormat format(const at::Tensor& t) {
  return t.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

/// In the kernels' order of memory, from a multiple of 16 bytes on, and in the type of `like`; the same tensor where it
/// is that already.
at::Tensor ordered(const at::Tensor& t, const at::Tensor& like) {
  if (!t.defined()) return t;
  at::Tensor out = t.to(like.scalar_type()).contiguous(format(t));
  return reinterpret_cast<std::uintptr_t>(out.const_data_ptr()) % 16 == 0 ? out : out.clone();
}

cuda::Type type(const at::Tensor& t) { return t.scalar_type() == at::kFloat ? cuda::Type::f32 : cuda::Type::bf16; }
std::uint32_t extent(const at::Tensor& t, std::int64_t dim) { return static_cast<std::uint32_t>(t.size(dim)); }
std::uint32_t pixels(const at::Tensor& t) { return t.dim() == 4 ? extent(t, 2) * extent(t, 3) : 1; }
const void* read(const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }
const float* parameter(const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }

cuda::Activation kind(Activation a) {
  return a == Activation::silu         ? cuda::Activation::silu
         : a == Activation::leaky_relu ? cuda::Activation::leaky_relu
                                       : cuda::Activation::none;
}

/// `smaller` is the picture of blocks.
cuda::BlockArguments blocks(const at::Tensor& in, const at::Tensor& out, const at::Tensor& smaller, std::int64_t k,
                            double scale) {
  return {.in = read(in),
          .out = out.mutable_data_ptr(),
          .samples = extent(in, 0),
          .height = extent(smaller, 2),
          .width = extent(smaller, 3),
          .channels = extent(in, 1),
          .k = static_cast<std::uint32_t>(k),
          .scale = static_cast<float>(scale)};
}

cuda::GroupNormArguments arguments(const GroupNorm& n, const at::Tensor& x, const at::Tensor& mean,
                                   const at::Tensor& reciprocal) {
  return {.x = read(x),
          .weight = parameter(n.weight),
          .bias = parameter(n.bias),
          .mean = mean.data_ptr<float>(),
          .reciprocal = reciprocal.data_ptr<float>(),
          .first = nullptr,
          .second = nullptr,
          .out = nullptr,
          .samples = extent(x, 0),
          .pixels = pixels(x),
          .channels = extent(x, 1),
          .groups = static_cast<std::uint32_t>(n.groups),
          .silu = n.silu ? 1 : 0};
}

/// Of the tangent; x and dot in the kernels' order.
cuda::GroupNormTangentArguments arguments(const GroupNorm& n, const GroupNormTangent& t, const at::Tensor& x,
                                          const at::Tensor& dot) {
  return {.x = read(x),
          .dot = read(dot),
          .weight = parameter(n.weight),
          .bias = parameter(n.bias),
          .mean = parameter(t.mean),
          .reciprocal = parameter(t.reciprocal),
          .mean_dot = t.mean_dot.data_ptr<float>(),
          .product = t.product.data_ptr<float>(),
          .first = nullptr,
          .second = nullptr,
          .first_dot = nullptr,
          .second_dot = nullptr,
          .out = nullptr,
          .of_weight = nullptr,
          .of_bias = nullptr,
          .samples = extent(x, 0),
          .pixels = pixels(x),
          .channels = extent(x, 1),
          .groups = static_cast<std::uint32_t>(n.groups),
          .silu = n.silu ? 1 : 0};
}

}  // namespace

bool epilogue(const Epilogue& e, const at::Tensor& a, at::Tensor& z, at::Tensor& y) {
  if (!known(a) || (e.add.defined() && e.add.sizes() != a.sizes())) return false;
  const at::Tensor in = ordered(a, a), add = ordered(e.add, a);
  const at::Tensor label_bias = e.label_bias.defined() ? e.label_bias.contiguous() : at::Tensor(),
                   label_gain = e.label_gain.defined() ? e.label_gain.contiguous() : at::Tensor();
  y = at::empty_like(in, format(in));
  const bool wants_z = e.activation == Activation::silu || (e.activation == Activation::leaky_relu && e.slope <= 0);
  z = wants_z ? at::empty_like(in, format(in)) : y;
  cuda::epilogue(type(in),
                 {.a = read(in),
                  .bias = parameter(e.bias),
                  .label_bias = parameter(label_bias),
                  .label_gain = parameter(label_gain),
                  .add = read(add),
                  .z = wants_z ? z.data_ptr() : nullptr,
                  .y = y.data_ptr(),
                  .samples = extent(in, 0),
                  .pixels = pixels(in),
                  .channels = extent(in, 1),
                  .activation = kind(e.activation),
                  .slope = static_cast<float>(e.slope)},
                 stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool activation_gradient(Activation activation, double slope, const at::Tensor& z, const at::Tensor& first,
                         const at::Tensor& second, at::Tensor& out) {
  if (!known(z)) return false;
  const at::Tensor at = ordered(z, z), one = ordered(first, z), two = ordered(second, z);
  out = at::empty_like(at, format(at));
  cuda::activation_gradient(type(at),
                            {.z = read(at),
                             .first = read(one),
                             .second = read(two),
                             .out = out.data_ptr(),
                             .count = static_cast<std::uint32_t>(at.numel()),
                             .activation = kind(activation),
                             .slope = static_cast<float>(slope)},
                            stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool block_sums(const at::Tensor& x, std::int64_t k, double scale, at::Tensor& out) {
  if (!known(x) || x.dim() != 4 || x.size(2) % k != 0 || x.size(3) % k != 0) return false;
  const at::Tensor in = ordered(x, x);
  out = at::empty({x.size(0), x.size(1), x.size(2) / k, x.size(3) / k}, in.options(), format(in));
  cuda::block_sums(type(in), blocks(in, out, out, k, scale), stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool spread(const at::Tensor& x, std::int64_t k, double scale, at::Tensor& out) {
  if (!known(x) || x.dim() != 4 || x.numel() * k * k >= (std::int64_t{1} << 31)) return false;
  const at::Tensor in = ordered(x, x);
  out = at::empty({x.size(0), x.size(1), x.size(2) * k, x.size(3) * k}, in.options(), format(in));
  cuda::spread(type(in), blocks(in, out, in, k, scale), stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool group_norm(const GroupNorm& n, const at::Tensor& x, at::Tensor& y, at::Tensor& mean, at::Tensor& reciprocal) {
  if (!known(x) || n.weight.scalar_type() != at::kFloat) return false;
  const at::Tensor in = ordered(x, x);
  y = at::empty_like(in, format(in));
  mean = at::empty({x.size(0), n.groups}, n.weight.options());
  reciprocal = at::empty_like(mean);
  auto arguments_of = arguments(n, in, mean, reciprocal);
  arguments_of.out = y.data_ptr();
  cuda::group_norm(type(in), arguments_of, stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool group_norm_gradient(const GroupNorm& n, const at::Tensor& x, const at::Tensor& mean, const at::Tensor& reciprocal,
                         const at::Tensor& first, const at::Tensor& second, at::Tensor& out) {
  if (!known(x) || n.weight.scalar_type() != at::kFloat) return false;
  const at::Tensor in = ordered(x, x), one = ordered(first, x), two = ordered(second, x);
  out = at::empty_like(in, format(in));
  auto arguments_of = arguments(n, in, mean, reciprocal);
  arguments_of.first = read(one);
  arguments_of.second = read(two);
  arguments_of.out = out.data_ptr();
  cuda::group_norm_gradient(type(in), arguments_of, stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool group_norm_tangent(const GroupNorm& n, GroupNormTangent& t, at::Tensor& y_dot) {
  if (!known(t.x) || n.weight.scalar_type() != at::kFloat) return false;
  const at::Tensor x = ordered(t.x, t.x), dot = ordered(t.dot, t.x);
  y_dot = at::empty_like(x, format(x));
  t.mean_dot = at::empty({x.size(0), n.groups}, n.weight.options());
  t.product = at::empty_like(t.mean_dot);
  auto arguments_of = arguments(n, t, x, dot);
  arguments_of.out = y_dot.data_ptr();
  cuda::group_norm_tangent(type(x), arguments_of, stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return true;
}

bool group_norm_gradient_tangent(const GroupNorm& n, const GroupNormTangent& t, const GroupNormPull& pull,
                                 at::Tensor& out, at::Tensor& of_weight, at::Tensor& of_bias) {
  if (!known(t.x) || n.weight.scalar_type() != at::kFloat) return false;
  const at::Tensor x = ordered(t.x, t.x), dot = ordered(t.dot, x), first = ordered(pull.first, x),
                   second = ordered(pull.second, x), first_dot = ordered(pull.first_dot, x),
                   second_dot = ordered(pull.second_dot, x);
  at::Tensor gradient = at::empty_like(x, format(x));
  of_weight = at::empty({x.size(0), x.size(1)}, n.weight.options());
  of_bias = at::empty_like(of_weight);
  auto arguments_of = arguments(n, t, x, dot);
  arguments_of.first = read(first);
  arguments_of.second = read(second);
  arguments_of.first_dot = read(first_dot);
  arguments_of.second_dot = read(second_dot);
  arguments_of.out = gradient.data_ptr();
  arguments_of.of_weight = of_weight.data_ptr<float>();
  arguments_of.of_bias = of_bias.data_ptr<float>();
  if (!cuda::group_norm_gradient_tangent(type(x), arguments_of, stream())) return false;
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  out = gradient;
  return true;
}

}  // namespace igebm::engine::fused
