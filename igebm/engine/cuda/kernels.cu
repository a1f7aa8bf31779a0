#include <cuda_bf16.h>

#include <algorithm>

#include "igebm/engine/cuda/kernels.h"

namespace igebm::engine::cuda {
namespace {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16(x);
}
__device__ inline float exp_float(float x) { return expf(x); }
__device__ inline float sqrt_float(float x) { return sqrtf(x); }

#include "igebm/engine/cuda/kernels.inl"

constexpr unsigned threads = 256;

unsigned blocks(std::uint32_t packs) { return std::clamp<unsigned>((packs + threads - 1) / threads, 1, 16384); }

/// Values that are read at once: at most sixteen bytes, and a divisor of what lies together.
int width(Type type, std::uint32_t together) {
  int v = type == Type::bf16 ? 8 : 4;
  while (together % static_cast<unsigned>(v) != 0) v /= 2;
  return v;
}

template <typename T, int V>
struct Form {
  using Value = T;
  static constexpr int wide = V;
};

/// run(Form<T, V>) for the type and width of the values.
template <typename Run>
void dispatch(Type type, int v, const Run& run) {
  const auto of = [&](auto value) {
    using T = decltype(value);
    if (v >= 8) return run(Form < T, sizeof(T) == 2 ? 8 : 4 > ());
    if (v == 4) return run(Form<T, 4>());
    if (v == 2) return run(Form<T, 2>());
    return run(Form<T, 1>());
  };
  type == Type::bf16 ? of(__nv_bfloat16()) : of(float());
}

}  // namespace

void epilogue(Type type, const EpilogueArguments& e, void* stream) {
  const int v = width(type, e.channels);
  const std::uint32_t packs = e.samples * e.pixels * (e.channels / static_cast<unsigned>(v));
  dispatch(type, v, [&](auto form) {
    epilogue_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<blocks(packs), threads, 0, static_cast<cudaStream_t>(stream)>>>(e);
  });
}

void activation_gradient(Type type, const ActivationGradientArguments& g, void* stream) {
  const int v = width(type, g.count);
  dispatch(type, v, [&](auto form) {
    activation_gradient_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<blocks(g.count / static_cast<unsigned>(v)), threads, 0, static_cast<cudaStream_t>(stream)>>>(g);
  });
}

void block_sums(Type type, const BlockArguments& b, void* stream) {
  const int v = width(type, b.channels);
  const std::uint32_t packs = b.samples * b.height * b.width * (b.channels / static_cast<unsigned>(v));
  dispatch(type, v, [&](auto form) {
    block_sums_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<blocks(packs), threads, 0, static_cast<cudaStream_t>(stream)>>>(b);
  });
}

void spread(Type type, const BlockArguments& b, void* stream) {
  const int v = width(type, b.channels);
  const std::uint32_t packs = b.samples * b.height * b.k * b.width * b.k * (b.channels / static_cast<unsigned>(v));
  dispatch(type, v, [&](auto form) {
    spread_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<blocks(packs), threads, 0, static_cast<cudaStream_t>(stream)>>>(b);
  });
}

namespace {

template <typename Arguments>
unsigned group_threads(const Arguments& n, int v) {
  const std::uint32_t packs = n.pixels * (n.channels / n.groups) / static_cast<unsigned>(v);
  unsigned count = 32;
  while (count < group_norm_threads && count * 2 < packs) count *= 2;
  return count;
}

}  // namespace

void group_norm(Type type, const GroupNormArguments& n, void* stream) {
  const int v = width(type, n.channels / n.groups);
  dispatch(type, v, [&](auto form) {
    group_norm_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<n.samples * n.groups, group_threads(n, v), 0, static_cast<cudaStream_t>(stream)>>>(n);
  });
}

void group_norm_gradient(Type type, const GroupNormArguments& n, void* stream) {
  const int v = width(type, n.channels / n.groups);
  dispatch(type, v, [&](auto form) {
    group_norm_gradient_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<n.samples * n.groups, group_threads(n, v), 0, static_cast<cudaStream_t>(stream)>>>(n);
  });
}

void group_norm_tangent(Type type, const GroupNormTangentArguments& n, void* stream) {
  const int v = width(type, n.channels / n.groups);
  dispatch(type, v, [&](auto form) {
    group_norm_tangent_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<n.samples * n.groups, group_threads(n, v), 0, static_cast<cudaStream_t>(stream)>>>(n);
  });
}

bool group_norm_gradient_tangent(Type type, const GroupNormTangentArguments& n, void* stream) {
  const int v = width(type, n.channels / n.groups);
  unsigned threads_each = group_threads(n, v);
  const std::uint32_t across = n.channels / n.groups / static_cast<unsigned>(v);
  while (threads_each < across && threads_each < group_norm_threads) threads_each *= 2;
  if (across > threads_each) return false;
  dispatch(type, v, [&](auto form) {
    group_norm_gradient_tangent_kernel<typename decltype(form)::Value, decltype(form)::wide>
        <<<n.samples * n.groups, threads_each, 0, static_cast<cudaStream_t>(stream)>>>(n);
  });
  return true;
}

}  // namespace igebm::engine::cuda
