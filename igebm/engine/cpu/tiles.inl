// Convolutions by matrix tiles (Intel AMX; kernels.h), a part of kernels.inl.
//
// A tile holds 16 rows of 64 bytes: of pixels' lanes (16 x 32), of weights in pairs (16 x 16 x 2) or of sums (16 x 16).
// A picture's pixels are taken as one run from its first to its last, the border's between rows along with them: what
// comes out for those is dropped, and tiles are full whatever the width. 3 x 2 tiles of sums are computed at once, of
// 48 pixels and 32 outputs.

struct alignas(64) TileConfig {
  unsigned char palette = 1, start_row = 0, reserved[14] = {};
  unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// The thread's tiles, while it lives. (gcc's own intrinsic tells the compiler of 8 bytes that are read alone.)
struct Tiles {
  Tiles() {
    const TileConfig config;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

constexpr std::ptrdiff_t tile_bytes = std::ptrdiff_t{1}
                                      << 19;  // of pictures that the weights of 32 outputs are kept for
constexpr int tile_side = 16, tile_floats = tile_side * tile_side;

/// Is all that an epilogue reads and writes of a pixel in bfloat16? Most are, and PairRow is for those.
bool quick_finish(const Epilogue& e) {
  const auto fits = [](const View& v) { return v.data == nullptr || v.bf16; };
  return e.gain == nullptr && e.bias_pixel == 0 && fits(e.add) && fits(e.multiply) && fits(e.out) &&
         fits(e.activated) && fits(e.derivative) && fits(e.bend) && fits(e.bent[0]) && fits(e.bent[1]) &&
         fits(e.bent[2]);
}

/// An epilogue (Row) of 32 outputs from c on, of the pixels of a row from x on.
struct PairRow {
  const Epilogue& e;
  V bias[2] = {};
  const Bf16 *add, *multiply;
  const Bf16* bent[3];
  Bf16 *out, *activated, *derivative, *bend;

  PairRow(const Epilogue& epilogue, int n, int y, int x, int c)
      : e(epilogue),
        add(at(e.add, n, y, x, c)),
        multiply(at(e.multiply, n, y, x, c)),
        bent{at(e.bent[0], n, y, x, c), at(e.bent[1], n, y, x, c), at(e.bent[2], n, y, x, c)},
        out(at(e.out, n, y, x, c)),
        activated(at(e.activated, n, y, x, c)),
        derivative(at(e.derivative, n, y, x, c)),
        bend(at(e.bend, n, y, x, c)) {
    if (e.bias == nullptr) return;
    for (int j = 0; j < 2; ++j) bias[j] = load(e.bias + n * e.bias_sample + c + j * W);
  }

  static Bf16* at(const View& v, std::ptrdiff_t n, std::ptrdiff_t y, std::ptrdiff_t x, std::ptrdiff_t c) {
    return v.data == nullptr ? nullptr : reinterpret_cast<Bf16*>(v.data) + n * v.sample + y * v.row + x * v.pixel + c;
  }
  IGEBM_INLINE static void store_pair(Bf16* p, V a, V b) {
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
  }

  IGEBM_INLINE void finish(V a, V b, std::ptrdiff_t i) const {
    a += bias[0];
    b += bias[1];
    if (add != nullptr) {
      a += load_bf16(add + i * e.add.pixel);
      b += load_bf16(add + i * e.add.pixel + W);
    }
    if (multiply != nullptr) {
      a *= factor(load_bf16(multiply + i * e.multiply.pixel), e);
      b *= factor(load_bf16(multiply + i * e.multiply.pixel + W), e);
    }
    if (bent[0] != nullptr) {
      const auto product = [&](int c) __attribute__((always_inline)) {
        return load_bf16(bent[0] + i * e.bent[0].pixel + c) * load_bf16(bent[1] + i * e.bent[1].pixel + c) *
               load_bf16(bent[2] + i * e.bent[2].pixel + c);
      };
      a += product(0);
      b += product(W);
    }
    if (out != nullptr) store_pair(out + i * e.out.pixel, a, b);
    if (e.activation == Activation::none) return;
    Activated p = activate(a, e), q = activate(b, e);
    if (bend != nullptr) {
      const V low = bend_of(a, p), high = bend_of(b, q);
      store_pair(bend + i * e.bend.pixel, low, high);
    }
    if (activated != nullptr) store_pair(activated + i * e.activated.pixel, p.value, q.value);
    if (derivative != nullptr) store_pair(derivative + i * e.derivative.pixel, p.slope, q.slope);
  }
};

/// One step of the sums' depth, 32 channels of a tap: `pixels` tiles of 16 pixels against one or two tiles of weights.
/// Tiles 0 .. 5 are sums; the order keeps as many as are not needed for them loaded.
template <int pixels, bool both>
IGEBM_INLINE void tile_step(const Bf16* p, std::ptrdiff_t next, std::ptrdiff_t stride, const Bf16* weights) {
  const Bf16* second = weights + 2 * tile_floats;
  _tile_loadd(6, p, stride);
  _tile_loadd(7, weights, 64);
  _tile_dpbf16ps(0, 6, 7);
  if constexpr (pixels == 1) {
    if constexpr (both) {
      _tile_loadd(7, second, 64);
      _tile_dpbf16ps(1, 6, 7);
    }
  } else if constexpr (!both) {
    _tile_loadd(6, p + next, stride);
    _tile_dpbf16ps(2, 6, 7);
    if constexpr (pixels == 3) {
      _tile_loadd(6, p + 2 * next, stride);
      _tile_dpbf16ps(4, 6, 7);
    }
  } else if constexpr (pixels == 2) {
    _tile_loadd(5, second, 64);
    _tile_dpbf16ps(1, 6, 5);
    _tile_loadd(4, p + next, stride);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 4, 5);
  } else {
    _tile_loadd(7, second, 64);
    _tile_dpbf16ps(1, 6, 7);
    _tile_loadd(6, p + next, stride);
    _tile_dpbf16ps(3, 6, 7);
    _tile_loadd(7, weights, 64);
    _tile_dpbf16ps(2, 6, 7);
    _tile_loadd(6, p + 2 * next, stride);
    _tile_dpbf16ps(4, 6, 7);
    _tile_loadd(7, second, 64);
    _tile_dpbf16ps(5, 6, 7);
  }
}

/// Sums of 16 * pixels pixels from `in` on and 32 or 16 outputs: tiles (pixels, 2).
template <int pixels, bool both>
IGEBM_INLINE void tile_sums(const DirectConvolution& conv, const Bf16* in, const Bf16* weights, float* sums) {
  const std::ptrdiff_t stride = conv.in.pixel * static_cast<std::ptrdiff_t>(sizeof(Bf16)),
                       next = tile_side * conv.in.pixel;
  _tile_zero(0);
  if constexpr (both) _tile_zero(1);
  if constexpr (pixels > 1) _tile_zero(2);
  if constexpr (pixels > 1 && both) _tile_zero(3);
  if constexpr (pixels > 2) _tile_zero(4);
  if constexpr (pixels > 2 && both) _tile_zero(5);
  for (int t = 0; t < conv.taps; ++t) {
    const Bf16* p = in + conv.offsets[t];
    for (int k = 0; k < conv.channels; k += 2 * tile_side, weights += 4 * tile_floats)
      tile_step<pixels, both>(p + k, next, stride, weights);
  }
  _tile_stored(0, sums, 64);
  if constexpr (both) _tile_stored(1, sums + tile_floats, 64);
  if constexpr (pixels > 1) _tile_stored(2, sums + 2 * tile_floats, 64);
  if constexpr (pixels > 1 && both) _tile_stored(3, sums + 3 * tile_floats, 64);
  if constexpr (pixels > 2) _tile_stored(4, sums + 4 * tile_floats, 64);
  if constexpr (pixels > 2 && both) _tile_stored(5, sums + 5 * tile_floats, 64);
}

/// 16 * pixels pixels from place `start` of the run on and the outputs from c on.
template <int pixels, bool both>
void tile_block(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue, int n,
                std::ptrdiff_t start, int c) {
  alignas(64) float sums[2 * pixels * tile_floats];
  const auto columns = static_cast<int>(conv.in.row / conv.in.pixel);
  const std::ptrdiff_t weights = std::ptrdiff_t{1} * conv.taps * conv.channels * c;
  tile_sums<pixels, both>(conv,
                          reinterpret_cast<const Bf16*>(conv.in.data) + n * conv.in.sample + start * conv.in.pixel,
                          reinterpret_cast<const Bf16*>(conv.weights) + weights, sums);
  // The picture's own pixels of the run, row by row.
  const bool quick = both && quick_finish(epilogue);
  int y = static_cast<int>(start / columns), x = static_cast<int>(start % columns);
  for (int m = 0; m < pixels * tile_side && y < extent.height; m += columns - x, x = 0, ++y) {
    const int rest = pixels * tile_side - m, count = extent.width - x < rest ? extent.width - x : rest;
    const auto sums_of = [&](int i) __attribute__((always_inline)) {
      return sums + (m + i) / tile_side * 2 * tile_floats + (m + i) % tile_side * tile_side;
    };
    if (quick) {
      const PairRow row(epilogue, n, y, x, c);
      for (int i = 0; i < count; ++i) row.finish(load(sums_of(i)), load(sums_of(i) + tile_floats), i);
      continue;
    }
    const Row row(epilogue, n, y);
    for (int i = 0; i < count; ++i) {
      row.finish(load(sums_of(i)), x + i, c);
      if constexpr (both) row.finish(load(sums_of(i) + tile_floats), x + i, c + tile_side);
    }
  }
}

/// A run of pixels of sample n, in blocks of nearly equal size.
template <bool both>
void tile_run(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue, int n, int c) {
  const auto columns = static_cast<int>(conv.in.row / conv.in.pixel);
  const int run = ((extent.height - 1) * columns + extent.width + tile_side - 1) / tile_side, blocks = (run + 2) / 3;
  for (int i = 0, done = 0; i < blocks; ++i) {
    const int here = (run - done + blocks - i - 1) / (blocks - i);
    const std::ptrdiff_t start = std::ptrdiff_t{1} * done * tile_side;
    if (here == 3) tile_block<3, both>(conv, extent, epilogue, n, start, c);
    if (here == 2) tile_block<2, both>(conv, extent, epilogue, n, start, c);
    if (here == 1) tile_block<1, both>(conv, extent, epilogue, n, start, c);
    done += here;
  }
}

void tiles(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const Tiles configured;
  // The weights of 32 outputs are read once for as many samples as stay in the second-level cache with them.
  const std::ptrdiff_t sample = extent.height * conv.in.row * static_cast<std::ptrdiff_t>(sizeof(Bf16));
  const int group = sample > tile_bytes ? 1 : static_cast<int>(tile_bytes / sample);
  for (int first = 0; first < extent.samples; first += group) {
    const int last = first + group < extent.samples ? first + group : extent.samples;
    for (int c = 0; c < extent.lanes; c += 2 * tile_side) {
      for (int n = first; n < last; ++n) {
        if (c + tile_side < extent.lanes) {
          tile_run<true>(conv, extent, epilogue, n, c);
        } else {
          tile_run<false>(conv, extent, epilogue, n, c);
        }
      }
    }
  }
}

void pack_tiles(const float* weights, int taps, int channels, int outputs, float* packed) {
  Bf16* to = reinterpret_cast<Bf16*>(packed);
  for (int c = 0; c < outputs; c += 2 * tile_side) {
    for (int k = 0; k < taps * channels; k += 2 * tile_side) {
      for (int first = c; first < c + 2 * tile_side; first += tile_side) {
        for (int pair = k; pair < k + 2 * tile_side; pair += 2) {
          for (int o = first; o < first + tile_side; ++o) {
            for (int i = pair; i < pair + 2; ++i)
              *to++ = o < outputs ? rounded(weights[static_cast<std::ptrdiff_t>(i) * outputs + o]) : Bf16{0};
          }
        }
      }
    }
  }
}
