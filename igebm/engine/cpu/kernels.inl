// The loops of kernels.h, compiled once for each instruction set: the includer defines IGEBM_ISA (a name) and
// IGEBM_LANES (floats in a vector register), IGEBM_REGISTERS where its vectors are short and there are 32 of them,
// and IGEBM_BF16 and IGEBM_AMX where it has matrix tiles of bfloat16: pictures may then be stored in that.
// Of the library only <utility>'s index_sequence is used, which yields no code, and of kernels.h static functions: an
// inline function compiled for AVX-512 must not become the one copy that other files share.
#include <utility>

#include "igebm/engine/cpu/kernels.h"

#if IGEBM_LANES == 16
#include <immintrin.h>
#endif

#define IGEBM_INLINE inline __attribute__((always_inline))

namespace igebm::engine::cpu::IGEBM_ISA {
namespace {

#include "igebm/engine/cpu/vectors.inl"

void pointwise(const View& in, float scale, int zoom, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Line from(in, n, y / zoom);
      const Row row(epilogue, n, y);
      finish_row(
          row, extent.width,
          extent.lanes, [&](int x, int c) __attribute__((always_inline)) { return from.load(x / zoom, c) * scale; });
    }
  }
}

void pool(const View& in, float scale, int zoom_y, int zoom_x, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      finish_row(
          row, extent.width, extent.lanes, [&](int x, int c) __attribute__((always_inline)) {
            V sum{};
            for (int i = 0; i < zoom_y; ++i) {
              const Line from(in, n, y * zoom_y + i);
              for (int j = 0; j < zoom_x; ++j) sum += from.load(x * zoom_x + j, c);
            }
            return sum * scale;
          });
    }
  }
}

void lane_sums(const View& in, const View& factor, const Extent& extent, const float* coefficients,
               const Labels& labels, float* sums) {
  for (int n = 0; n < extent.samples; ++n) {
    float* to = labels.classes == nullptr ? sums : sums + labels.classes[n] * extent.lanes;
    const float* numbers = labels.numbers == nullptr ? nullptr : labels.numbers + n * labels.count;
    for (int c = 0; c < extent.lanes; c += W) {
      V sum{};
      for (int y = 0; y < extent.height; ++y) {
        const Line p(in, n, y), q(factor, n, y);
        for (int x = 0; x < extent.width; ++x) sum += q ? p.load(x, c) * q.load(x, c) : p.load(x, c);
      }
      sum *= coefficients[n];
      if (numbers == nullptr) {
        store(to + c, load(to + c) + sum);
      } else {
        for (int i = 0; i < labels.count; ++i) {
          float* here = to + i * extent.lanes + c;
          store(here, load(here) + numbers[i] * sum);
        }
      }
    }
  }
}

void inner(const View& a, const View& b, float scale, const Extent& extent, const View& out) {
  for (int n = 0; n < extent.samples; ++n) {
    V sum{};
    for (int y = 0; y < extent.height; ++y) {
      const Line p(a, n, y), q(b, n, y);
      for (int x = 0; x < extent.width; ++x) {
        for (int c = 0; c < extent.lanes; c += W) sum += p.load(x, c) * q.load(x, c);
      }
    }
    out.data[n * out.sample] = scale * sum_of_lanes(sum);
  }
}

void load_input(const float* x, int channels, int zoom, float scale, float shift, const Extent& extent,
                const View& out) {
  const int height = extent.height * zoom, width = extent.width * zoom;
  for (int n = 0; n < extent.samples; ++n) {
    for (int c = 0; c < channels; ++c) {
      for (int y = 0; y < height; ++y) {
        const float* from = x + (static_cast<std::ptrdiff_t>(n * channels + c) * height + y) * width;
        const std::ptrdiff_t first = n * out.sample + y / zoom * out.row + c * zoom * zoom + y % zoom * zoom;
#ifdef IGEBM_AMX
        if (out.bf16) {
          Bf16* high = reinterpret_cast<Bf16*>(out.data) + first;
          Bf16* low = high + channels * zoom * zoom;
          for (int i = 0; i < extent.width; ++i) {
            for (int z = 0; z < zoom; ++z) {
              const float value = from[i * zoom + z] * scale + shift;
              high[i * out.pixel + z] = rounded(value);
              low[i * out.pixel + z] = rounded(value - widened(high[i * out.pixel + z]));
            }
          }
          continue;
        }
#endif
        float* to = out.data + first;
        for (int i = 0; i < extent.width; ++i) {
          for (int z = 0; z < zoom; ++z) to[i * out.pixel + z] = from[i * zoom + z] * scale + shift;
        }
      }
    }
  }
}

void store_gradient(const View& gradient, int channels, int zoom, float scale, const Extent& extent, float* x) {
  const int height = extent.height * zoom, width = extent.width * zoom;
  for (int n = 0; n < extent.samples; ++n) {
    for (int c = 0; c < channels; ++c) {
      for (int y = 0; y < height; ++y) {
        float* to = x + (static_cast<std::ptrdiff_t>(n * channels + c) * height + y) * width;
        const float* from =
            gradient.data + n * gradient.sample + y / zoom * gradient.row + c * zoom * zoom + y % zoom * zoom;
        for (int i = 0; i < extent.width; ++i) {
          for (int z = 0; z < zoom; ++z) to[i * zoom + z] = from[i * gradient.pixel + z] * scale;
        }
      }
    }
  }
}

#ifdef IGEBM_AMX
#include "igebm/engine/cpu/tiles.inl"
#include "igebm/engine/cpu/tiles_gradient.inl"
#endif
#include "igebm/engine/cpu/direct.inl"
#include "igebm/engine/cpu/group_norm.inl"
#include "igebm/engine/cpu/group_norm_tangent.inl"
#ifdef IGEBM_AMX
// Pictures in float32 alone: those of the other tables.
constexpr decltype(Kernels::pack_winograd) pack_winograd = nullptr, pack_winograd_bf16 = nullptr;
constexpr decltype(Kernels::winograd) winograd = nullptr, winograd_bf16 = nullptr;
constexpr decltype(Kernels::attention) attention = nullptr, attention_tangent = nullptr;
constexpr decltype(Kernels::attention_gradient) attention_gradient = nullptr, attention_gradient_tangent = nullptr;
#else
#include "igebm/engine/cpu/attention.inl"
#include "igebm/engine/cpu/attention_tangent.inl"
#include "igebm/engine/cpu/winograd.inl"
constexpr decltype(Kernels::pack_tiles) pack_tiles = nullptr;
constexpr decltype(Kernels::tiles) tiles = nullptr;
#endif

}  // namespace

extern const Kernels table;
const Kernels table = {IGEBM_STRING(IGEBM_ISA),
                       panel,
                       pack_direct,
                       pack_winograd,
                       direct,
                       weight_gradient,
                       lane_sums,
                       direct_few,
                       winograd,
                       pack_winograd_bf16,
                       winograd_bf16,
                       pack_tiles,
                       tiles,
                       pointwise,
                       pool,
                       group_norm,
                       group_norm_gradient,
                       group_norm_tangent,
                       group_norm_gradient_tangent,
                       attention,
                       attention_gradient,
                       attention_tangent,
                       attention_gradient_tangent,
                       inner,
                       load_input,
                       store_gradient};

}  // namespace igebm::engine::cpu::IGEBM_ISA
