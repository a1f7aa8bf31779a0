#pragma once

#include <cstdint>

/// The kernels behind engine/fused.h, on plain memory. Values are (samples, pixels, channels), channels fastest:
/// channels last. Everything runs on `stream`, a cudaStream_t; nothing waits.
namespace igebm::engine::cuda {

enum class Type { f32, bf16 };  // of values; parameters and statistics are f32

enum class Activation : int { none = 0, leaky_relu = 1, silu = 2 };

struct EpilogueArguments {
  const void* a;
  const float *bias, *label_bias, *label_gain;  // (channels), (samples, channels) twice; null: left out
  const void* add;
  void *z, *y;  // z null: not wanted
  std::uint32_t samples, pixels, channels;
  Activation activation;
  float slope;
};
void epilogue(Type type, const EpilogueArguments& e, void* stream);

struct ActivationGradientArguments {
  const void *z, *first, *second;  // second null: none
  void* out;
  std::uint32_t count;
  Activation activation;
  float slope;
};
void activation_gradient(Type type, const ActivationGradientArguments& g, void* stream);

struct BlockArguments {
  const void* in;
  void* out;
  std::uint32_t samples, height, width, channels, k;  // height and width of the picture of blocks, the smaller one
  float scale;
};
void block_sums(Type type, const BlockArguments& b, void* stream);
void spread(Type type, const BlockArguments& b, void* stream);

struct GroupNormArguments {
  const void* x;
  const float *weight, *bias;  // (channels)
  float *mean, *reciprocal;    // (samples, groups)
  const void *first, *second;  // of the gradient
  void* out;                   // y, or the gradient of x
  std::uint32_t samples, pixels, channels, groups;
  int silu;
};
void group_norm(Type type, const GroupNormArguments& n, void* stream);
void group_norm_gradient(Type type, const GroupNormArguments& n, void* stream);

struct GroupNormTangentArguments {
  const void *x, *dot;
  const float *weight, *bias, *mean, *reciprocal;
  float *mean_dot, *product;                            // (samples, groups)
  const void *first, *second, *first_dot, *second_dot;  // of the gradient; the last three null: none
  void* out;                                            // the derivative of y, or of the gradient of x
  float *of_weight, *of_bias;                           // (samples, channels)
  std::uint32_t samples, pixels, channels, groups;
  int silu;
};
void group_norm_tangent(Type type, const GroupNormTangentArguments& n, void* stream);
/// False, with nothing done, where a group has more packs a pixel than a block has threads.
bool group_norm_gradient_tangent(Type type, const GroupNormTangentArguments& n, void* stream);

}  // namespace igebm::engine::cuda
