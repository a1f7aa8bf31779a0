// Vectors of lanes, what becomes of a result before it is stored (kernels.h, Epilogue), and products of small matrices
// in registers: what all kernels are made of, a part of kernels.inl.

#ifndef IGEBM_REGISTERS
#define IGEBM_REGISTERS (IGEBM_LANES == 16 ? 32 : 16)
#endif

constexpr int W = IGEBM_LANES;
constexpr int max_lanes = 2048;  // of a group norm
typedef float V __attribute__((vector_size(4 * IGEBM_LANES), may_alias));
typedef int I __attribute__((vector_size(4 * IGEBM_LANES), may_alias));
constexpr int panel_vectors = 2, panel = panel_vectors * W;
constexpr int max_rows = IGEBM_REGISTERS == 32 ? 14 : 6;  // registers: as many rows of panel_vectors sums, a panel's
                                                          // row and a factor

IGEBM_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }
IGEBM_INLINE void store(float* p, V v) { *reinterpret_cast<V*>(p) = v; }
IGEBM_INLINE V all(float v) { return v - V{}; }  // v + 0 is not v for -0, and would be computed
IGEBM_INLINE float as_float(float v) { return v; }
IGEBM_INLINE V load_as_float(const float* p) { return load(p); }

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
IGEBM_INLINE float as_float(Bf16 v) { return widened(v); }
IGEBM_INLINE V load_as_float(const Bf16* p) { return load_bf16(p); }
#endif

/// Not a number stays what it is.
IGEBM_INLINE V clamped(V v, float low, float high) {
#if IGEBM_LANES == 16
  return (V)_mm512_max_ps((__m512)all(low), _mm512_min_ps((__m512)all(high), (__m512)v));
#else
  v = v > high ? all(high) : v;
  return v < low ? all(low) : v;
#endif
}

/// 2^v for |v| <= 126, relative error 3e-7: a power of two times a polynomial on [-1/2, 1/2], the least error of its
/// degree.
IGEBM_INLINE V power_of_two(V v) {
  const V shifted = v + 12582912.0F;  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const V r = v - (shifted - 12582912.0F);
  V p = r * 1.3276472e-3F + 9.6755419e-3F;
  p = p * r + 5.5507131e-2F;
  p = p * r + 2.4022120e-1F;
  p = p * r + 6.9314694e-1F;
  p = p * r + 1.0000001F;
  const I bits = reinterpret_cast<const I&>(p) + (reinterpret_cast<const I&>(shifted) << 23);
  return reinterpret_cast<const V&>(bits);
}

constexpr float log2_e = 1.44269504F;

/// 1 / v for 1e-37 < v < 1e38. A division takes as long as all else of a sigmoid, an estimate with a Newton step does
/// not.
IGEBM_INLINE V reciprocal(V v) {
#if IGEBM_LANES == 16
  const V r = (V)_mm512_rcp14_ps((__m512)v);
  return r + r * (1.0F - v * r);
#else
  return 1.0F / v;
#endif
}

IGEBM_INLINE V logistic(V v) { return reciprocal(1.0F + power_of_two(clamped(v * -log2_e, -126, 126))); }

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

/// The derivative of a leaky ReLU, of its argument or its value.
IGEBM_INLINE V leaky_slope(V v, float slope) { return v > 0.0F ? all(1.0F) : all(slope); }

struct Activated {
  V value, slope, sigmoid;  ///< sigmoid: of SiLU
};

template <Activation activation>
IGEBM_INLINE Activated activate(V r, const Epilogue& e) {
  if constexpr (activation == Activation::silu) {
    const V sigmoid = logistic(r);
    const V value = r * sigmoid;
    return {value, sigmoid + value * (1.0F - sigmoid), sigmoid};
  } else {
    const V slope = leaky_slope(r, e.slope);
    return {r * slope, slope, V{}};
  }
}

IGEBM_INLINE Activated activate(V r, const Epilogue& e) {
  return e.activation == Activation::silu ? activate<Activation::silu>(r, e) : activate<Activation::leaky_relu>(r, e);
}

/// f''(r) / f'(r)^2 of SiLU, whose slope is kept from being 0.
IGEBM_INLINE V bend_of(V r, Activated& f) {
  f.slope += 1e-12F;
  return f.sigmoid * (1.0F - f.sigmoid) * (2.0F + r * (1.0F - 2.0F * f.sigmoid)) * reciprocal(f.slope * f.slope);
}

/// What an epilogue multiplies by, of what it reads for that.
IGEBM_INLINE V factor(V read, const Epilogue& e) {
  return e.multiply_slope < 0 ? read : leaky_slope(read, e.multiply_slope);
}

/// An epilogue at one sample and row.
struct Row {
  const Epilogue& e;
  const float *bias, *gain;
  Line add, multiply, out, activated, derivative, bend, bent0, bent1, bent2;

  Row(const Epilogue& epilogue, int n, int y)
      : e(epilogue),
        bias(e.bias == nullptr ? nullptr : e.bias + n * e.bias_sample),
        gain(e.gain == nullptr ? nullptr : e.gain + n * e.gain_sample),
        add(e.add, n, y),
        multiply(e.multiply, n, y),
        out(e.out, n, y),
        activated(e.activated, n, y),
        derivative(e.derivative, n, y),
        bend(e.bend, n, y),
        bent0(e.bent[0], n, y),
        bent1(e.bent[1], n, y),
        bent2(e.bent[2], n, y) {}

  /// Of pixels from x on: all of them at once, for what an epilogue has costs as much to ask as to do.
  template <int pixels>
  IGEBM_INLINE void finish(V (&r)[pixels], std::ptrdiff_t x, std::ptrdiff_t c) const {
#define IGEBM_EACH _Pragma("GCC unroll 4") for (int i = 0; i < pixels; ++i)
    if (bias != nullptr) IGEBM_EACH r[i] += load(bias + (x + i) * e.bias_pixel + c);
    if (gain != nullptr) IGEBM_EACH r[i] *= load(gain + (x + i) * e.gain_pixel + c) + 1.0F;
    if (add) IGEBM_EACH r[i] += add.load(x + i, c);
    if (multiply && e.multiply_slope < 0) IGEBM_EACH r[i] *= multiply.load(x + i, c);
    if (multiply && e.multiply_slope >= 0) IGEBM_EACH r[i] *= leaky_slope(multiply.load(x + i, c), e.multiply_slope);
    if (bent0) IGEBM_EACH r[i] += bent0.load(x + i, c) * bent1.load(x + i, c) * bent2.load(x + i, c);
    if (const Line to = out; to) IGEBM_EACH to.store(x + i, c, r[i]);
    if (e.activation == Activation::silu) finish_activated<Activation::silu>(r, x, c);
    if (e.activation == Activation::leaky_relu) finish_activated<Activation::leaky_relu>(r, x, c);
  }
  template <Activation activation, int pixels>
  IGEBM_INLINE void finish_activated(const V (&r)[pixels], std::ptrdiff_t x, std::ptrdiff_t c) const {
    Activated results[pixels];
    IGEBM_EACH results[i] = activate<activation>(r[i], e);
    // By copies: what is stored could be the row itself, for all that the compiler knows.
    if (const Line to = bend; to) IGEBM_EACH to.store(x + i, c, bend_of(r[i], results[i]));
    if (const Line to = activated; to) IGEBM_EACH to.store(x + i, c, results[i].value);
    if (const Line to = derivative; to) IGEBM_EACH to.store(x + i, c, results[i].slope);
  }
#undef IGEBM_EACH
  IGEBM_INLINE void finish(V r, std::ptrdiff_t x, std::ptrdiff_t c) const {
    V one[1] = {r};
    finish(one, x, c);
  }
};

/// W lanes from c on of `pixels` pixels from x on; of(i) is one's result.
template <int pixels, int done = 0, typename Of>
IGEBM_INLINE void finish_pixels(const Row& row, std::ptrdiff_t x, std::ptrdiff_t c, const Of& of) {
  constexpr int here = pixels - done < 4 ? pixels - done : 4;
  V r[here];
#pragma GCC unroll 4
  for (int i = 0; i < here; ++i) r[i] = of(done + i);
  row.finish(r, x + done, c);
  if constexpr (done + here < pixels) finish_pixels<pixels, done + here>(row, x, c, of);
}

/// All pixels and lanes of a row; of(x, c) is one's result.
template <typename Of>
IGEBM_INLINE void finish_row(const Row& row, int width, int lanes, const Of& of) {
  const auto some = [&]<int pixels>(int x) __attribute__((always_inline)) {
    for (int c = 0; c < lanes; c += W) {
      finish_pixels<pixels>(
          row, x, c, [&](int i) __attribute__((always_inline)) { return of(x + i, c); });
    }
  };
  int x = 0;
  for (; x + 4 <= width; x += 4) some.template operator()<4>(x);
  for (; x < width; ++x) some.template operator()<1>(x);
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

constexpr int weights_ahead = 512;  // floats; fetched in time from the second or last cache. AVX2 gains nothing by it

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
    for (int j = 0; j < vectors; ++j) {
      const float* here = b + k * vectors * W + j * W;
      right[j] = load(here);
      if constexpr (W == 16) __builtin_prefetch(here + weights_ahead);
    }
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
