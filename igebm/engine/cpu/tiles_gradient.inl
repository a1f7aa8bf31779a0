// The gradient of a convolution's weights by matrix tiles, a part of kernels.inl: for each tap the product of in's
// channels by pixels with the gradient's pixels by outputs, 32 pixels a step, over a sample's pixels as one run.

/// Pixels one after another in the order of a run: rows `pitch` apart, of which those beyond `width`, and all beyond
/// `rows` of them, are zeros.
struct PixelRun {
  const Bf16* data;
  std::ptrdiff_t row, pixel;
  int pitch, width, rows;
  int x = 0, y = 0;

  const Bf16* next() {
    alignas(64) static constexpr Bf16 zeros[max_lanes] = {};
    const Bf16* here = y < rows && x < width ? data + y * row + x * pixel : zeros;
    if (++x == pitch) x = 0, ++y;
    return here;
  }
};

/// 16 lanes of two pixels, in pairs.
IGEBM_INLINE __m512i paired(const Bf16* a, const Bf16* b) {
  const auto wide = [](const Bf16* p) __attribute__((always_inline)) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  };
  return _mm512_or_si512(wide(a), _mm512_slli_epi32(wide(b), 16));
}

/// Rows of 32-bit numbers to columns.
IGEBM_INLINE void transpose(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Quarter q of r[4 i + j] is column 4 q + j of rows 4 i .. 4 i + 3.
  constexpr int even = 0x88, odd = 0xDD;
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], even);
    t[4 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], even);
    t[8 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], odd);
    t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], odd);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[4 + j], even);
    r[4 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], even);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[4 + j], odd);
    r[12 + j] = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], odd);
  }
}

/// The first `pixels` of a run, as (pixels / 2, lanes, 2).
void pack_gradient(PixelRun run, int pixels, int lanes, Bf16* to) {
  for (int p = 0; p < pixels; p += 2) {
    const Bf16 *a = run.next(), *b = run.next();
    for (int c = 0; c < lanes; c += W, to += 2 * W) _mm512_storeu_si512(to, paired(a + c, b + c));
  }
}

/// The same as (lanes, stride), pixels a multiple of 32.
void pack_input(PixelRun run, int pixels, int lanes, std::ptrdiff_t stride, Bf16* to) {
  for (int first = 0; first < pixels; first += 2 * W) {
    const Bf16* at[2 * W];
    for (const Bf16*& pixel : at) pixel = run.next();
    for (int c = 0; c < lanes; c += W) {
      __m512i rows[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) rows[i] = paired(at[2 * i] + c, at[2 * i + 1] + c);
      transpose(rows);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) _mm512_storeu_si512(to + (c + i) * stride + first, rows[i]);
    }
  }
}

/// sums (16 or 32 channels, 16 or 32 of `lanes` outputs) += factor * the product over `pixels`.
template <bool tall, bool wide>
void gradient_block(const Bf16* in, std::ptrdiff_t stride, const Bf16* gradient, int lanes, int pixels, float factor,
                    float* sums) {
  const std::ptrdiff_t in_bytes = 2 * stride, gradient_bytes = std::ptrdiff_t{4} * lanes;
  _tile_zero(0);
  if constexpr (wide) _tile_zero(1);
  if constexpr (tall) _tile_zero(2);
  if constexpr (tall && wide) _tile_zero(3);
  for (int p = 0; p < pixels;
       p += 2 * tile_side, in += 2 * tile_side, gradient += std::ptrdiff_t{2} * tile_side * lanes) {
    _tile_loadd(4, in, in_bytes);
    _tile_loadd(6, gradient, gradient_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (wide) {
      _tile_loadd(7, gradient + 2 * tile_side, gradient_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (tall) {
      _tile_loadd(5, in + tile_side * stride, in_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (tall && wide) _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float block[4 * tile_floats];
  _tile_stored(0, block, 64);
  if constexpr (wide) _tile_stored(1, block + tile_floats, 64);
  if constexpr (tall) _tile_stored(2, block + 2 * tile_floats, 64);
  if constexpr (tall && wide) _tile_stored(3, block + 3 * tile_floats, 64);
  for (int i = 0; i < (tall ? 2 : 1); ++i) {
    for (int m = 0; m < tile_side; ++m) {
      for (int j = 0; j < (wide ? 2 : 1); ++j) {
        float* here = sums + std::ptrdiff_t{1} * (i * tile_side + m) * lanes + j * tile_side;
        store(here, load(here) + factor * load(block + (2 * i + j) * tile_floats + m * tile_side));
      }
    }
  }
}

/// One tap.
void gradient_product(const Bf16* in, std::ptrdiff_t stride, const Bf16* gradient, int channels, int lanes, int pixels,
                      float factor, float* sums) {
  for (int k = 0; k < channels; k += 2 * tile_side) {
    for (int c = 0; c < lanes; c += 2 * tile_side) {
      const Bf16 *a = in + k * stride, *b = gradient + 2 * c;
      float* to = sums + std::ptrdiff_t{1} * k * lanes + c;
      const bool tall = k + tile_side < channels, wide = c + tile_side < lanes;
      if (tall && wide) gradient_block<true, true>(a, stride, b, lanes, pixels, factor, to);
      if (tall && !wide) gradient_block<true, false>(a, stride, b, lanes, pixels, factor, to);
      if (!tall && wide) gradient_block<false, true>(a, stride, b, lanes, pixels, factor, to);
      if (!tall && !wide) gradient_block<false, false>(a, stride, b, lanes, pixels, factor, to);
    }
  }
}

/// Kernels::weight_gradient of pictures in bfloat16; false, with nothing done, of others.
bool tile_weight_gradient(const DirectConvolution& conv, const View& gradient, const Extent& extent,
                          const float* coefficients, float* sums) {
  if (!conv.in.bf16 || !gradient.bf16 || conv.work == nullptr || conv.channels % tile_side != 0) return false;
  const Tiles configured;
  // With stride 1 the taps read one run, from different places of it on.
  const bool one = conv.step == 1;
  const int pitch = one ? static_cast<int>(conv.in.row / conv.in.pixel) : extent.width;
  std::ptrdiff_t low = conv.offsets[0], high = low;
  for (int t = 0; one && t < conv.taps; ++t) {
    low = conv.offsets[t] < low ? conv.offsets[t] : low;
    high = conv.offsets[t] > high ? conv.offsets[t] : high;
  }
  const auto span = static_cast<int>((high - low) / conv.in.pixel);
  const int last = (extent.height - 1) * pitch + extent.width, pixels = rounded_pixels(last),
            read = rounded_pixels(pixels + span);
  const std::ptrdiff_t stride = read + 2 * tile_side;  // not a power of 2
  auto *in = reinterpret_cast<Bf16*>(conv.work), *g = in + stride * conv.channels;
  for (int n = 0; n < extent.samples; ++n) {
    pack_gradient({reinterpret_cast<const Bf16*>(gradient.data) + n * gradient.sample, gradient.row, gradient.pixel,
                   pitch, extent.width, extent.height},
                  pixels, extent.lanes, g);
    const Bf16* from = reinterpret_cast<const Bf16*>(conv.in.data) + n * conv.in.sample;
    if (one)
      pack_input({from + low, 0, conv.in.pixel, last + span + read, last + span, 1}, read, conv.channels, stride, in);
    for (int t = 0; t < conv.taps; ++t) {
      if (!one) {
        pack_input({from + conv.offsets[t], conv.in.row, conv.in.pixel, pitch, extent.width, extent.height}, pixels,
                   conv.channels, stride, in);
      }
      const std::ptrdiff_t shift = one ? (conv.offsets[t] - low) / conv.in.pixel : 0;
      gradient_product(in + shift, stride, g, conv.channels, extent.lanes, pixels, coefficients[n],
                       sums + std::ptrdiff_t{1} * t * conv.channels * extent.lanes);
    }
  }
  return true;
}
