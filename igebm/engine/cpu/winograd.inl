// Winograd's algorithm for 3 x 3 convolutions (kernels.h), a part of kernels.inl.

// Winograd's F(4x4, 3x3) at the points 0, 1, -1, 2, -2 and infinity.
IGEBM_INLINE void input_transform(const V (&d)[6], V (&o)[6]) {
  const V a = d[4] - 4.0F * d[2], b = d[3] - 4.0F * d[1], c = d[4] - d[2], e = 2.0F * (d[3] - d[1]);
  o[0] = 4.0F * d[0] + (a - d[2]);
  o[1] = a + b;
  o[2] = a - b;
  o[3] = c + e;
  o[4] = c - e;
  o[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
}

IGEBM_INLINE void output_transform(const V (&m)[6], V (&o)[4]) {
  const V s = m[1] + m[2], u = m[1] - m[2], v = m[3] + m[4], w = m[3] - m[4];
  o[0] = m[0] + s + v;
  o[1] = u + 2.0F * w;
  o[2] = s + 4.0F * v;
  o[3] = u + 8.0F * w + m[5];
}

// The 36 products are done by pairs of rows of points: 0 and infinity, 1 and -1, 2 and -2. What a pair reads and writes
// for a few tiles stays in the first-level cache, and pairs share half of their transforms' additions.
constexpr int pair_of_row[6] = {0, 1, 1, 2, 2, 0}, half_of_row[6] = {0, 0, 1, 0, 1, 1};
constexpr int tiles_at_once = IGEBM_REGISTERS == 32 ? max_rows : 4 * max_rows;

/// Where the tiles of a block lie.
struct TileAt {
  int n, y, x, height, width;

  TileAt(const Extent& extent, int tile) : height(extent.height), width(extent.width) {
    const int across = (width + 3) / 4, per_sample = (height + 3) / 4 * across;
    n = tile / per_sample;
    y = tile % per_sample / across * 4;
    x = tile % across * 4;
  }
  /// By some tiles, within a row of them or to the next one's start.
  IGEBM_INLINE void advance(int tiles) {
    x += 4 * tiles;
    if (x < width) return;
    x = 0;
    y += 4;
    if (y < height) return;
    y = 0;
    ++n;
  }
};

/// Of a block of tiles, cut into parts of at most tiles_at_once: part's first tile.
struct Parts {
  int count, parts;
  explicit Parts(int tiles) : count(tiles), parts((tiles + tiles_at_once - 1) / tiles_at_once) {}
  int begin(int part) const { return count * part / parts; }
};

/// T: what the factors of the products are stored as.
template <int pair, typename T>
void transform_inputs(const WinogradConvolution& conv, TileAt at, int count, T* to, std::ptrdiff_t stride) {
  const View& in = conv.in;
  for (int t = 0; t < count; ++t, to += conv.channels, at.advance(1)) {
    const float* corner = in.data + at.n * in.sample + (at.y - 1) * in.row + (at.x - 1) * in.pixel;
    for (int c = 0; c < conv.channels; c += W) {
      V rows[2][6], result[6];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        const float* p = corner + j * in.pixel + c;
        const auto d = [&](int i) __attribute__((always_inline)) { return load(p + i * in.row); };
        if constexpr (pair == 0) {
          rows[0][j] = 4.0F * d(0) + (d(4) - 5.0F * d(2));
          rows[1][j] = 4.0F * d(1) + (d(5) - 5.0F * d(3));
        } else {
          const V a = pair == 1 ? d(4) - 4.0F * d(2) : d(4) - d(2),
                  b = pair == 1 ? d(3) - 4.0F * d(1) : 2.0F * (d(3) - d(1));
          rows[0][j] = a + b;
          rows[1][j] = a - b;
        }
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        input_transform(rows[i], result);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) store(to + (6 * i + j) * stride + c, result[j]);
      }
    }
  }
}

/// The pair's contribution to the 16 results, before what the rows share is spread over them.
template <int pair>
IGEBM_INLINE void transform_outputs(const float* from, std::ptrdiff_t stride, V (&results)[2][4]) {
  V a[6], b[6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    const V first = load(from + j * stride), second = load(from + (6 + j) * stride);
    a[j] = pair == 0 ? first : first + second;
    b[j] = pair == 0 ? second : first - second;
  }
  output_transform(a, results[0]);
  output_transform(b, results[1]);
}

/// Kept until the last pair's are there: 8 vectors of each pair.
template <int pair>
void keep_outputs(const float* from, std::ptrdiff_t stride, int count, int width, float* kept) {
  for (int t = 0; t < count; ++t, from += width, kept += 16 * width) {
    for (int c = 0; c < width; c += W) {
      V results[2][4];
      transform_outputs<pair>(from + c, stride, results);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) store(kept + (8 * pair + i) * W + 16 * c, results[i / 4][i % 4]);
    }
  }
}

/// Results of a tile, of W lanes from c on: height rows of pixels. A call, for the compiler would keep every address of
/// the loops around in the stack.
template <int pixels>
__attribute__((noinline)) void finish_tile(const Row* rows, V (*results)[4], int height, int x, int c) {
  for (int i = 0; i < height; ++i) {
    V r[pixels];
#pragma GCC unroll 4
    for (int j = 0; j < pixels; ++j) r[j] = results[i][j];
    rows[i].finish(r, x, c);
  }
}

void finish_outputs(const float* from, std::ptrdiff_t stride, int count, int width, const float* kept, TileAt at,
                    const Epilogue& epilogue, int first_lane) {
  for (int t = 0, run; t < count; t += run, at.advance(run)) {
    const int left = (at.width - at.x + 3) / 4, height = at.height - at.y < 4 ? at.height - at.y : 4;
    run = count - t < left ? count - t : left;
    const Row rows[4] = {
        {epilogue, at.n, at.y}, {epilogue, at.n, at.y + 1}, {epilogue, at.n, at.y + 2}, {epilogue, at.n, at.y + 3}};
    for (int k = 0; k < run; ++k, from += width, kept += 16 * width) {
      const int x = at.x + 4 * k, across = at.width - x;
      for (int c = 0; c < width; c += W) {
        V last[2][4], results[4][4];
        transform_outputs<2>(from + c, stride, last);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const auto of = [&](int i) __attribute__((always_inline)) { return load(kept + (4 * i + j) * W + 16 * c); };
          const V sum = of(2), difference = of(3);
          results[0][j] = of(0) + sum + last[0][j];
          results[1][j] = difference + 2.0F * last[1][j];
          results[2][j] = sum + 4.0F * last[0][j];
          results[3][j] = of(1) + difference + 8.0F * last[1][j];
        }
        if (across >= 4) {
          finish_tile<4>(rows, results, height, x, first_lane + c);
        } else if (across == 3) {
          finish_tile<3>(rows, results, height, x, first_lane + c);
        } else if (across == 2) {
          finish_tile<2>(rows, results, height, x, first_lane + c);
        } else {
          finish_tile<1>(rows, results, height, x, first_lane + c);
        }
      }
    }
  }
}

/// One pair of rows of points of a block of `count` tiles from `first` on.
template <int pair, typename T>
void winograd_pair(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue, int first,
                   int count) {
  const Parts parts(count);
  const int channels = conv.channels;
  // 16 numbers between matrices keep them out of one another's cache lines.
  const std::ptrdiff_t in_stride = static_cast<std::ptrdiff_t>(tiles_at_once) * channels + 16,
                       out_stride = tiles_at_once * panel + 16;
  T* in = reinterpret_cast<T*>(conv.work);
  float *out = conv.work + 12 * in_stride * parts.parts, *kept = out + 12 * out_stride;
  for (int part = 0; part < parts.parts; ++part) {
    const int begin = parts.begin(part);
    transform_inputs<pair>(conv, TileAt(extent, first + begin), parts.begin(part + 1) - begin,
                           in + 12 * in_stride * part, in_stride);
  }
  for (int c = 0; c < extent.lanes; c += panel) {
    const int width = extent.lanes - c < panel ? extent.lanes - c : panel;
    const T* weights = reinterpret_cast<const T*>(conv.weights) + std::ptrdiff_t{36} * channels * c +
                       std::ptrdiff_t{12} * pair * channels * width;
    for (int part = 0; part < parts.parts; ++part) {
      const int begin = parts.begin(part), here = parts.begin(part + 1) - begin;
      const T* from = in + 12 * in_stride * part;
      for (int p = 0; p < 12; ++p) {
        const T* b = weights + std::ptrdiff_t{1} * p * channels * width;
        if (width == panel) {
          products<panel_vectors>(from + p * in_stride, channels, here, channels, b, out + p * out_stride, width);
        } else {
          products<1>(from + p * in_stride, channels, here, channels, b, out + p * out_stride, width);
        }
      }
      float* keep = kept + std::ptrdiff_t{16} * (c * count + begin * width);
      if constexpr (pair < 2) {
        keep_outputs<pair>(out, out_stride, here, width, keep);
      } else {
        finish_outputs(out, out_stride, here, width, keep, TileAt(extent, first + begin), epilogue, c);
      }
    }
  }
}

template <typename T>
void winograd_of(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const int total = extent.samples * ((extent.height + 3) / 4) * ((extent.width + 3) / 4);
  constexpr int usual = winograd_tiles / tiles_at_once * tiles_at_once;
  const int blocks = total <= usual ? 1 : (total + usual / 2) / usual;
  for (int block = 0, first = 0; block < blocks; ++block) {
    const int count = (total - first + blocks - block - 1) / (blocks - block);
    winograd_pair<0, T>(conv, extent, epilogue, first, count);
    winograd_pair<1, T>(conv, extent, epilogue, first, count);
    winograd_pair<2, T>(conv, extent, epilogue, first, count);
    first += count;
  }
}

void pack_winograd(const float* weights, int channels, int outputs, float* packed) {
  constexpr double g[6][3] = {{0.25, 0, 0},
                              {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                              {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                              {1.0 / 24, 1.0 / 12, 1.0 / 6},
                              {1.0 / 24, -1.0 / 12, 1.0 / 6},
                              {0, 0, 1}};
  const std::ptrdiff_t matrix = static_cast<std::ptrdiff_t>(channels) * outputs;
  for (int c = 0; c < outputs; c += panel) {
    const int width = outputs - c < panel ? outputs - c : panel;
    for (int k = 0; k < channels; ++k) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(k) * outputs + c;
      float* to = packed + std::ptrdiff_t{36} * channels * c + static_cast<std::ptrdiff_t>(k) * width;
      for (int i = 0; i < 6; ++i) {
        for (int j = 0; j < 6; ++j) {
          const std::ptrdiff_t place = 12 * pair_of_row[i] + 6 * half_of_row[i] + j;
          double sums[panel] = {};
          for (int y = 0; y < 3; ++y) {
            for (int x = 0; x < 3; ++x) {
              const double factor = g[i][y] * g[j][x];
              if (factor == 0) continue;
              for (int o = 0; o < width; ++o)
                sums[o] += factor * static_cast<double>(weights[(y * 3 + x) * matrix + at + o]);
            }
          }
          for (int o = 0; o < width; ++o) to[place * channels * width + o] = static_cast<float>(sums[o]);
        }
      }
    }
  }
}

#ifdef IGEBM_BF16
void winograd_bf16(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  winograd_of<Bf16>(conv, extent, epilogue);
}

void pack_winograd_bf16(const float* weights, int channels, int outputs, float* packed) {
  // In float first, into the upper half of the memory, which is twice what is needed: read before it is written.
  const std::ptrdiff_t all = std::ptrdiff_t{36} * channels * outputs;
  pack_winograd(weights, channels, outputs, packed + (all + 1) / 2);
  const float* from = packed + (all + 1) / 2;
  Bf16* to = reinterpret_cast<Bf16*>(packed);
  for (int c = 0; c < outputs; c += panel) {
    const int width = outputs - c < panel ? outputs - c : panel;
    for (int p = 0; p < 36; ++p, from += channels * width, to += channels * width) {
      for (int k = 0; k < channels; k += 2) {
        for (int o = 0; o < width; ++o) {
          for (int half = 0; half < 2; ++half) to[k * width + 2 * o + half] = rounded(from[(k + half) * width + o]);
        }
      }
    }
  }
}
#else
void winograd(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  winograd_of<float>(conv, extent, epilogue);
}

constexpr decltype(Kernels::pack_winograd_bf16) pack_winograd_bf16 = nullptr;
constexpr decltype(Kernels::winograd_bf16) winograd_bf16 = nullptr;
#endif
