// The loops of kernels.h, compiled once for each instruction set: the includer defines IGEBM_ISA (a name) and
// IGEBM_LANES (floats in a vector register), IGEBM_BF16 where it multiplies bfloat16 vectors, and IGEBM_AMX where it
// has matrix tiles: pictures may then be stored in bfloat16. Of the library only <utility>'s index_sequence is used,
// which yields no code, and of kernels.h static functions: an inline function compiled for AVX-512 must not become the
// one copy that other files share.
#include <utility>

#include "igebm/engine/cpu/kernels.h"

#if IGEBM_LANES == 16
#include <immintrin.h>
#endif

#define IGEBM_INLINE inline __attribute__((always_inline))

namespace igebm::engine::cpu::IGEBM_ISA {
namespace {

constexpr int W = IGEBM_LANES;
typedef float V __attribute__((vector_size(4 * IGEBM_LANES), may_alias));
typedef int I __attribute__((vector_size(4 * IGEBM_LANES), may_alias));
constexpr int panel_vectors = 2, panel = panel_vectors * W;
constexpr int max_rows = W == 16 ? 14 : 6;  // registers: max_rows * panel_vectors sums, a panel's row and a factor

IGEBM_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }
IGEBM_INLINE void store(float* p, V v) { *reinterpret_cast<V*>(p) = v; }
IGEBM_INLINE V all(float v) { return V{} + v; }

#ifdef IGEBM_BF16
using Bf16 = unsigned short;

IGEBM_INLINE void store(Bf16* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh((__m512)v));
}
IGEBM_INLINE float widened(Bf16 v) { return __builtin_bit_cast(float, static_cast<unsigned>(v) << 16); }
/// To the nearest, to even between two.
IGEBM_INLINE Bf16 rounded(float v) {
  if (v != v) return 0x7FC0;  // not a number: adding to its bits could make a number of it
  const auto bits = __builtin_bit_cast(unsigned, v);
  return static_cast<Bf16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}
IGEBM_INLINE V load_bf16(const Bf16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return (V)_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
#endif

/// exp x for |x| <= 87, relative error 2e-7: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
IGEBM_INLINE V exponential(V x) {
  x = x > 87.0F ? all(87.0F) : x;
  x = x < -87.0F ? all(-87.0F) : x;
  const V shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const I n = reinterpret_cast<const I&>(shifted) << 23;
  const V whole = shifted - 12582912.0F;
  const V r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  V p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const I bits = reinterpret_cast<const I&>(p) + n;
  return reinterpret_cast<const V&>(bits);
}

/// 1 / x for 1 <= x < 1e38. A division takes as long as all else of a sigmoid, an estimate with a Newton step does not.
IGEBM_INLINE V reciprocal(V x) {
#if IGEBM_LANES == 16
  const V r = (V)_mm512_rcp14_ps((__m512)x);
  return r + r * (1.0F - x * r);
#else
  return 1.0F / x;
#endif
}

/// A view at one sample and row.
struct Line {
  float* data;
  std::ptrdiff_t pixel;
  bool bf16;

  Line(const View& v, std::ptrdiff_t n, std::ptrdiff_t y)
      : data(v.data == nullptr ? nullptr : moved(v, n * v.sample + y * v.row).data), pixel(v.pixel), bf16(v.bf16) {}
  explicit operator bool() const { return data != nullptr; }

  IGEBM_INLINE V load(std::ptrdiff_t x, std::ptrdiff_t c) const {
#ifdef IGEBM_AMX
    if (bf16) return load_bf16(reinterpret_cast<const Bf16*>(data) + x * pixel + c);
#endif
    return IGEBM_ISA::load(data + x * pixel + c);
  }
  IGEBM_INLINE void store(std::ptrdiff_t x, std::ptrdiff_t c, V v) const {
#ifdef IGEBM_AMX
    if (bf16) return IGEBM_ISA::store(reinterpret_cast<Bf16*>(data) + x * pixel + c, v);
#endif
    IGEBM_ISA::store(data + x * pixel + c, v);
  }
};

struct Activated {
  V value, slope;
};

IGEBM_INLINE Activated activate(V r, const Epilogue& e) {
  if (e.activation == Activation::silu) {
    const V sigmoid = reciprocal(1.0F + exponential(-r));
    const V value = r * sigmoid;
    return {value, sigmoid + value * (1.0F - sigmoid)};
  }
  const V slope = r > 0.0F ? all(1.0F) : all(e.slope);
  return {r * slope, slope};
}

/// What an epilogue multiplies by, of what it reads for that.
IGEBM_INLINE V factor(V read, const Epilogue& e) {
  return e.multiply_slope < 0 ? read : read > 0.0F ? all(1.0F) : all(e.multiply_slope);
}

/// An epilogue at one sample and row.
struct Row {
  const Epilogue& e;
  const float *bias, *gain;
  Line add, multiply, out, activated, derivative;

  Row(const Epilogue& epilogue, int n, int y)
      : e(epilogue),
        bias(e.bias == nullptr ? nullptr : e.bias + n * e.bias_sample),
        gain(e.gain == nullptr ? nullptr : e.gain + n * e.gain_sample),
        add(e.add, n, y),
        multiply(e.multiply, n, y),
        out(e.out, n, y),
        activated(e.activated, n, y),
        derivative(e.derivative, n, y) {}

  IGEBM_INLINE void finish(V r, std::ptrdiff_t x, std::ptrdiff_t c) const {
    if (bias != nullptr) r += load(bias + x * e.bias_pixel + c);
    if (gain != nullptr) r *= load(gain + x * e.gain_pixel + c) + 1.0F;
    if (add) r += add.load(x, c);
    if (multiply) r *= factor(multiply.load(x, c), e);
    if (out) out.store(x, c, r);
    if (e.activation == Activation::none) return;
    const Activated result = activate(r, e);
    if (activated) activated.store(x, c, result.value);
    if (derivative) derivative.store(x, c, result.slope);
  }
};

/// sums[m][j] += sum over k of a[m * stride + k] * b[k * panel + j W], one block of registers.
template <int rows, int vectors>
IGEBM_INLINE void multiply_rows(const float* a, std::ptrdiff_t stride, const float* b, int depth,
                                V (&sums)[rows][vectors]) {
  // Every third row has a pointer, those between are reached by the stride: few enough for the general registers.
  const float* base[(rows + 2) / 3];
  for (int m = 0; m < (rows + 2) / 3; ++m) base[m] = a + 3 * m * stride;
  const auto one = [&](int k) __attribute__((always_inline)) {
    V right[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) right[j] = load(b + k * vectors * W + j * W);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
      const V left = all(base[m / 3][(m % 3) * stride + k]);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[m][j] += left * right[j];
    }
  };
  int k = 0;
  for (; k + 4 <= depth; k += 4) {
    one(0);
    one(1);
    one(2);
    one(3);
#pragma GCC unroll 8
    for (int m = 0; m < (rows + 2) / 3; ++m) base[m] += 4;
    b += std::ptrdiff_t{4} * vectors * W;
  }
  for (; k < depth; ++k) {
    one(0);
    for (int m = 0; m < (rows + 2) / 3; ++m) base[m] += 1;
    b += vectors * W;
  }
}

#ifdef IGEBM_BF16
/// The same of bfloat16 numbers, two of the depth at once: b holds them as (depth / 2, vectors * W, 2).
template <int rows, int vectors>
IGEBM_INLINE void multiply_rows(const Bf16* a, std::ptrdiff_t stride, const Bf16* b, int depth,
                                V (&sums)[rows][vectors]) {
  for (int k = 0; k < depth; k += 2) {
    __m512bh right[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) right[j] = (__m512bh)_mm512_load_si512(b + (k * vectors + 2 * j) * W);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
      int both;
      __builtin_memcpy(&both, a + m * stride + k, sizeof(both));
      const auto left = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[m][j] = (V)_mm512_dpbf16_ps((__m512)sums[m][j], left, right[j]);
    }
  }
}

#endif

/// Calls f with the constant `rows` in 1 .. max_rows.
template <int rows, typename F>
IGEBM_INLINE void with_rows_from(int count, const F& f) {
  if constexpr (rows >= 1) {
    if (count == rows) {
      f.template operator()<rows>();
    } else {
      with_rows_from<rows - 1>(count, f);
    }
  }
}

/// c (rows, panel) = a (rows, depth) b (depth, panel).
template <int rows, int vectors, typename T>
void product(const T* a, std::ptrdiff_t a_stride, const T* b, int depth, float* c, std::ptrdiff_t c_stride) {
  V sums[rows][vectors] = {};
  multiply_rows<rows, vectors>(a, a_stride, b, depth, sums);
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) store(c + m * c_stride + j * W, sums[m][j]);
  }
}

template <int vectors, typename T>
void products(const T* a, std::ptrdiff_t a_stride, int rows, int depth, const T* b, float* c, std::ptrdiff_t c_stride) {
  const int blocks = (rows + max_rows - 1) / max_rows;
  for (int i = 0, done = 0; i < blocks; ++i) {
    const int here = (rows - done + blocks - i - 1) / (blocks - i);
    with_rows_from<max_rows>(
        here, [&]<int count>() __attribute__((always_inline)) {
          product<count, vectors>(a + done * a_stride, a_stride, b, depth, c + done * c_stride, c_stride);
        });
    done += here;
  }
}

template <int rows, int vectors>
void direct_block(const DirectConvolution& conv, const float* in, const float* weights, const Row& row, int x, int c) {
  V sums[rows][vectors] = {};
  for (int t = 0; t < conv.taps; ++t) {
    multiply_rows<rows, vectors>(in + conv.offsets[t], conv.in.pixel, weights, conv.channels, sums);
    weights += static_cast<std::ptrdiff_t>(conv.channels) * vectors * W;
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) row.finish(sums[m][j], x + m, c + j * W);
  }
}

template <int vectors>
void direct_panel(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue, const float* weights,
                  int c) {
  const int blocks = (extent.width + max_rows - 1) / max_rows;
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const float* in = conv.in.data + n * conv.in.sample + y * conv.in.row;
      const Row row(epilogue, n, y);
      for (int i = 0, x = 0; i < blocks; ++i) {
        const int here = (extent.width - x + blocks - i - 1) / (blocks - i);
        with_rows_from<max_rows>(
            here, [&]<int count>() __attribute__((always_inline)) {
              direct_block<count, vectors>(conv, in + x * conv.in.pixel, weights, row, x, c);
            });
        x += here;
      }
    }
  }
}

void direct(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const std::ptrdiff_t depth = static_cast<std::ptrdiff_t>(conv.taps) * conv.channels;
  for (int c = 0; c < extent.lanes; c += panel) {
    if (c + panel <= extent.lanes) {
      direct_panel<panel_vectors>(conv, extent, epilogue, conv.weights + depth * c, c);
    } else {
      direct_panel<1>(conv, extent, epilogue, conv.weights + depth * c, c);
    }
  }
}

template <int by, std::size_t... lane>
IGEBM_INLINE V rotated(V v, std::index_sequence<lane...>) {
  return __builtin_shufflevector(v, v, static_cast<int>((lane + by) % W)...);
}

/// By halves: a chain of log2 W additions.
template <int half = W / 2>
IGEBM_INLINE float sum_of_lanes(V v) {
  v += rotated<half>(v, std::make_index_sequence<W>());
  if constexpr (half > 1) {
    return sum_of_lanes<half / 2>(v);
  } else {
    return v[0];
  }
}

template <int outputs, int pixels>
IGEBM_INLINE void few_block(const DirectConvolution& conv, const Line& in, const Row& row, int x, int lanes) {
  V sums[pixels][outputs] = {};
  const std::ptrdiff_t depth = static_cast<std::ptrdiff_t>(conv.taps) * conv.channels;
  const float* weights = conv.weights;
  for (int t = 0; t < conv.taps; ++t) {
    for (int c = 0; c < conv.channels; c += W, weights += W) {
      V right[outputs];
#pragma GCC unroll 4
      for (int o = 0; o < outputs; ++o) right[o] = load(weights + o * depth);
#pragma GCC unroll 4
      for (int m = 0; m < pixels; ++m) {
        const V left = in.load(x + m, conv.offsets[t] + c);
#pragma GCC unroll 4
        for (int o = 0; o < outputs; ++o) sums[m][o] += left * right[o];
      }
    }
  }
  for (int m = 0; m < pixels; ++m) {
    V r{};
#pragma GCC unroll 4
    for (int o = 0; o < outputs; ++o) r[o] = sum_of_lanes(sums[m][o]);
    row.finish(r, x + m, 0);
    for (int c = W; c < lanes; c += W) row.finish(V{}, x + m, c);
  }
}

template <int outputs>
void few(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Line in(conv.in, n, y);
      const Row row(epilogue, n, y);
      int x = 0;
      for (; x + 4 <= extent.width; x += 4) few_block<outputs, 4>(conv, in, row, x, extent.lanes);
      for (; x < extent.width; ++x) few_block<outputs, 1>(conv, in, row, x, extent.lanes);
    }
  }
}

void direct_few(const DirectConvolution& conv, int outputs, const Extent& extent, const Epilogue& epilogue) {
  if (outputs == 1) few<1>(conv, extent, epilogue);
  if (outputs == 2) few<2>(conv, extent, epilogue);
  if (outputs == 3) few<3>(conv, extent, epilogue);
  if (outputs == 4) few<4>(conv, extent, epilogue);
}

constexpr int max_channels = W == 16 ? 8 : 4;  // of a block of weights' gradients: registers, again

template <int channels, int vectors>
void weight_block(const DirectConvolution& conv, const float* in, const float* gradient, const View& g,
                  const Extent& extent, const float* coefficients, bool by_pixel, float* to) {
  V sums[channels][vectors] = {};
  for (int y = 0; y < extent.height; ++y) {
    const float *p = in + y * conv.in.row, *q = gradient + y * g.row;
    for (int x = 0; x < extent.width; ++x, p += conv.in.pixel, q += g.pixel) {
      V right[vectors];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) right[j] = load(q + j * W);
      if (by_pixel) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) right[j] *= coefficients[x];
      }
#pragma GCC unroll 8
      for (int m = 0; m < channels; ++m) {
        const V left = all(p[m]);
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) sums[m][j] += left * right[j];
      }
    }
  }
  const float factor = by_pixel ? 1.0F : *coefficients;
#pragma GCC unroll 8
  for (int m = 0; m < channels; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      float* here = to + static_cast<std::ptrdiff_t>(m) * extent.lanes + j * W;
      store(here, load(here) + factor * sums[m][j]);
    }
  }
}

template <int vectors>
void weight_panel(const DirectConvolution& conv, const float* in, const float* gradient, const View& g,
                  const Extent& extent, const float* coefficients, bool by_pixel, float* sums) {
  for (int t = 0; t < conv.taps; ++t) {
    for (int c = 0; c < conv.channels; c += max_channels) {
      const int here = conv.channels - c < max_channels ? conv.channels - c : max_channels;
      float* to = sums + (static_cast<std::ptrdiff_t>(t) * conv.channels + c) * extent.lanes;
      with_rows_from<max_channels>(
          here, [&]<int channels>() __attribute__((always_inline)) {
            weight_block<channels, vectors>(conv, in + conv.offsets[t] + c, gradient, g, extent, coefficients, by_pixel,
                                            to);
          });
    }
  }
}

void weight_gradient(const DirectConvolution& conv, const View& gradient, const Extent& extent,
                     const float* coefficients, bool by_pixel, float* sums) {
  for (int n = 0; n < extent.samples; ++n) {
    const float *in = conv.in.data + n * conv.in.sample, *g = gradient.data + n * gradient.sample;
    for (int c = 0; c < extent.lanes; c += panel) {
      if (c + panel <= extent.lanes) {
        weight_panel<panel_vectors>(conv, in, g + c, gradient, extent, coefficients + n, by_pixel, sums + c);
      } else {
        weight_panel<1>(conv, in, g + c, gradient, extent, coefficients + n, by_pixel, sums + c);
      }
    }
  }
}

void pointwise(const View& in, float scale, int zoom, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Line from(in, n, y / zoom);
      const Row row(epilogue, n, y);
      for (int x = 0; x < extent.width; ++x) {
        for (int c = 0; c < extent.lanes; c += W) row.finish(from.load(x / zoom, c) * scale, x, c);
      }
    }
  }
}

void pool(const View& in, float scale, int zoom_y, int zoom_x, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      for (int x = 0; x < extent.width; ++x) {
        for (int c = 0; c < extent.lanes; c += W) {
          V sum{};
          for (int i = 0; i < zoom_y; ++i) {
            const Line from(in, n, y * zoom_y + i);
            for (int j = 0; j < zoom_x; ++j) sum += from.load(x * zoom_x + j, c);
          }
          row.finish(sum * scale, x, c);
        }
      }
    }
  }
}

void lane_sums(const View& in, const View& factor, const Extent& extent, const float* coefficients,
               const Labels& labels, float* sums) {
  for (int n = 0; n < extent.samples; ++n) {
    const float* p = in.data + n * in.sample;
    const float* q = factor.data == nullptr ? nullptr : factor.data + n * factor.sample;
    float* to = labels.classes == nullptr ? sums : sums + labels.classes[n] * extent.lanes;
    const float* numbers = labels.numbers == nullptr ? nullptr : labels.numbers + n * labels.count;
    for (int c = 0; c < extent.lanes; c += W) {
      V sum{};
      for (int y = 0; y < extent.height; ++y) {
        for (int x = 0; x < extent.width; ++x) {
          const V v = load(p + y * in.row + x * in.pixel + c);
          sum += q == nullptr ? v : v * load(q + y * factor.row + x * factor.pixel + c);
        }
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

void pack_direct(const float* weights, int taps, int channels, int outputs, float* packed) {
  const int depth = taps * channels;
  for (int c = 0; c < outputs; c += panel) {
    const int width = outputs - c < panel ? outputs - c : panel;
    for (int k = 0; k < depth; ++k) {
      for (int o = 0; o < width; ++o) *packed++ = weights[static_cast<std::ptrdiff_t>(k) * outputs + c + o];
    }
  }
}

#include "igebm/engine/cpu/group_norm.inl"
#ifdef IGEBM_AMX
#include "igebm/engine/cpu/tiles.inl"
// Pictures in float32 alone: those of the other tables.
constexpr decltype(Kernels::pack_winograd) pack_winograd = nullptr, pack_winograd_bf16 = nullptr;
constexpr decltype(Kernels::winograd) winograd = nullptr, winograd_bf16 = nullptr;
constexpr decltype(Kernels::attention) attention = nullptr;
constexpr decltype(Kernels::attention_gradient) attention_gradient = nullptr;
#else
#include "igebm/engine/cpu/attention.inl"
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
                       attention,
                       attention_gradient,
                       inner,
                       load_input,
                       store_gradient};

}  // namespace igebm::engine::cpu::IGEBM_ISA
