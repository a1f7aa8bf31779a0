// Convolutions by matrix tiles (Intel AMX; kernels.h), a part of kernels.inl.
//
// A tile holds 16 rows of 64 bytes: of pixels' lanes (16 x 32), of weights in pairs (16 x 16 x 2) or of sums (16 x 16).
// A picture's pixels are taken as one run from its first to its last, the border's between rows along with them: what
// comes out for those is dropped, and tiles are full whatever the width. 2 x 2 tiles of sums are computed at once, of
// 32 pixels and 32 outputs.

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

constexpr int tile_side = 16, tile_floats = tile_side * tile_side;

/// Sums of 32 pixels from `in` on and 32 outputs: tiles (pixels / 16, outputs / 16).
IGEBM_INLINE void tile_sums(const DirectConvolution& conv, const Bf16* in, const Bf16* weights, float* sums) {
  const std::ptrdiff_t stride = conv.in.pixel * static_cast<std::ptrdiff_t>(sizeof(Bf16)),
                       half = tile_side * conv.in.pixel;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int t = 0; t < conv.taps; ++t) {
    const Bf16* p = in + conv.offsets[t];
    for (int k = 0; k < conv.channels; k += 2 * tile_side, weights += 4 * tile_floats) {
      _tile_loadd(4, p + k, stride);
      _tile_loadd(6, weights, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, weights + 2 * tile_floats, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, p + half + k, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + tile_floats, 64);
  _tile_stored(2, sums + 2 * tile_floats, 64);
  _tile_stored(3, sums + 3 * tile_floats, 64);
}

/// The pixels of a run of 32 that are the picture's own, row by row: f(y, x, first in the run, count).
template <typename F>
IGEBM_INLINE void each_stretch(std::ptrdiff_t start, int columns, const Extent& extent, const F& f) {
  int y = static_cast<int>(start / columns), x = static_cast<int>(start % columns);
  for (int m = 0; m < tile_pixels && y < extent.height; ++y, x = 0) {
    const int count = extent.width - x < tile_pixels - m ? extent.width - x : tile_pixels - m;
    if (count > 0) f(y, x, m, count);
    m += columns - x;
  }
}

void tiles(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float sums[4 * tile_floats];
  const Tiles configured;
  const auto columns = static_cast<int>(conv.in.row / conv.in.pixel);
  const std::ptrdiff_t run = static_cast<std::ptrdiff_t>(extent.height - 1) * columns + extent.width,
                       block = std::ptrdiff_t{2} * conv.taps * conv.channels * tile_side;
  for (int n = 0; n < extent.samples; ++n) {
    const Bf16* in = reinterpret_cast<const Bf16*>(conv.in.data) + n * conv.in.sample;
    for (std::ptrdiff_t start = 0; start < run; start += tile_pixels) {
      for (int c = 0; c < extent.lanes; c += 2 * tile_side) {
        tile_sums(conv, in + start * conv.in.pixel, reinterpret_cast<const Bf16*>(conv.weights) + c / 32 * block, sums);
        const bool both = c + tile_side < extent.lanes;
        each_stretch(
            start, columns, extent, [&](int y, int x, int first, int count) __attribute__((always_inline)) {
              const Row row(epilogue, n, y);
              for (int m = first; m < first + count; ++m, ++x) {
                const float* r = sums + m / tile_side * 2 * tile_floats + m % tile_side * tile_side;
                row.finish(load(r), x, c);
                if (both) row.finish(load(r + tile_floats), x, c + tile_side);
              }
            });
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
