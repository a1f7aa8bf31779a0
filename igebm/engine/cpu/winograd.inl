// Winograd's algorithm for 3 x 3 convolutions (kernels.h), a part of kernels.inl.

// Winograd's F(4x4, 3x3) at the points 0, 1, -1, 2, -2 and infinity. Tiles at a picture's end may have fewer results:
// `size` of them, in a row or a column, need no more than size + 2 points, at most two of them -2 left out, then 2
// (Toom-Cook with the same weights: what is left out of their denominators multiplies the input).
template <int size>
IGEBM_INLINE void input_transform(const V (&d)[6], V (&o)[6]) {
  if constexpr (size == 4) {
    const V a = d[4] - 4.0F * d[2], b = d[3] - 4.0F * d[1], c = d[4] - d[2], e = 2.0F * (d[3] - d[1]);
    o[0] = 4.0F * d[0] + (d[4] - 5.0F * d[2]);
    o[1] = a + b;
    o[2] = a - b;
    o[3] = c + e;
    o[4] = c - e;
    o[5] = 4.0F * d[1] + (d[5] - 5.0F * d[3]);
  } else if constexpr (size == 3) {
    const V a = d[3] - d[1], b = d[0] - d[2];
    o[0] = 2.0F * a + 4.0F * b;
    o[1] = 3.0F * (a - (d[1] + d[2]));
    o[2] = a - 3.0F * (d[2] - d[1]);
    o[3] = 4.0F * a;
    o[5] = (d[4] - d[2]) - 2.0F * a;
  } else {
    o[0] = 4.0F * (d[0] - d[2]);
    o[1] = -3.0F * (d[1] + d[2]);
    o[2] = 3.0F * (d[1] - d[2]);
    o[5] = d[3] - d[1];
  }
}

template <int size>
IGEBM_INLINE void output_transform(const V (&m)[6], V (&o)[4]) {
  const V s = m[1] + m[2], u = m[1] - m[2];
  if constexpr (size == 4) {
    const V v = m[3] + m[4], w = m[3] - m[4];
    o[0] = m[0] + s + v;
    o[1] = u + 2.0F * w;
    o[2] = s + 4.0F * v;
    o[3] = u + 8.0F * w + m[5];
  } else if constexpr (size == 3) {
    o[0] = m[0] + s + m[3];
    o[1] = u + 2.0F * m[3];
    o[2] = s + 4.0F * m[3] + m[5];
  } else {
    o[0] = m[0] + s;
    o[1] = u + m[5];
  }
}

/// Is a point one of those of `size` results?
constexpr bool has_point(int size, int point) { return point == 3 ? size >= 3 : point == 4 ? size == 4 : true; }

/// Calls f with the size, 2 standing for 1, too; whole: it is 4.
template <bool whole, typename F>
IGEBM_INLINE void with_size(int size, const F& f) {
  if (whole || size == 4) {
    f.template operator()<4>();
  } else if (size == 3) {
    f.template operator()<3>();
  } else {
    f.template operator()<2>();
  }
}

// The 36 products are done by pairs of rows of points: 0 and infinity, 1 and -1, 2 and -2. What a pair reads and writes
// for a few tiles stays in the first-level cache, and pairs share half of their transforms' additions.
constexpr int pair_of_row[6] = {0, 1, 1, 2, 2, 0}, half_of_row[6] = {0, 0, 1, 0, 1, 1};
constexpr int row_of_pair[3][2] = {{0, 5}, {1, 2}, {3, 4}};
constexpr int tiles_at_once = IGEBM_REGISTERS == 32 ? max_rows : 3 * max_rows;

/// Where a tile lies, in the picture and in the matrices: a matrix has no rows for tiles that do not need its point.
struct TileAt {
  int n, y, x, height, width;
  bool lacking[2][6];     ///< have the last tiles of a column (0) or a row (1) of tiles not that point?
  int before[2][2] = {};  ///< tiles since the start: all, those of 4 columns, of 4 rows, of both

  TileAt(const Extent& extent, int tile) : height(extent.height), width(extent.width) {
    const int across = (width + 3) / 4, per_sample = (height + 3) / 4 * across;
    n = tile / per_sample;
    y = tile % per_sample / across * 4;
    x = tile % across * 4;
    for (int point = 0; point < 6; ++point) {
      lacking[0][point] = !has_point((height + 3) % 4 + 1, point);
      lacking[1][point] = !has_point((width + 3) % 4 + 1, point);
    }
  }
  /// Results, at most 4.
  IGEBM_INLINE int rows() const { return height - y < 4 ? height - y : 4; }
  IGEBM_INLINE int columns() const { return width - x < 4 ? width - x : 4; }
  /// Its row in the matrix of a point, or so many rows the matrix has.
  IGEBM_INLINE int place(int i, int j) const { return before[lacking[0][i]][lacking[1][j]]; }
  IGEBM_INLINE void advance() {
    const bool tall = height - y >= 4, wide = width - x >= 4;
    ++before[0][0];
    before[0][1] += wide;
    before[1][0] += tall;
    before[1][1] += tall && wide;
    x += 4;
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

/// A tile's vectors in the matrices of a pair of rows of points. width: of the matrices; whole: no tile is short.
template <int pair, bool whole, typename T>
struct Places {
  T* half[2][3];  ///< of points that all tiles have, of 2 and of -2
  std::ptrdiff_t stride;

  IGEBM_INLINE Places(T* matrices, std::ptrdiff_t apart, const TileAt& at, int width) : stride(apart) {
    half[0][0] = matrices + std::ptrdiff_t{1} * at.before[0][0] * width;
    for (int i = 0; !whole && i < 2; ++i) {
      for (int k = 0; k < 3; ++k)
        half[i][k] = matrices + std::ptrdiff_t{1} * at.place(row_of_pair[pair][i], k == 0 ? 0 : k + 2) * width;
    }
  }
  IGEBM_INLINE T* at(int i, int j) const {
    return (whole ? half[0][0] : half[i][j == 3 || j == 4 ? j - 2 : 0]) + (6 * i + j) * stride;
  }
};

template <int pair, int rows, int columns, bool whole, typename T>
IGEBM_INLINE void transform_input(const View& in, const TileAt& at, int channels, const Places<pair, whole, T>& to) {
  const float* corner = in.data + at.n * in.sample + (at.y - 1) * in.row + (at.x - 1) * in.pixel;
  for (int c = 0; c < channels; c += W) {
    V across[2][6], result[6];
#pragma GCC unroll 6
    for (int j = 0; j < columns + 2; ++j) {
      V column[6];
#pragma GCC unroll 6
      for (int i = 0; i < rows + 2; ++i) column[i] = load(corner + i * in.row + j * in.pixel + c);
      input_transform<rows>(column, result);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) across[i][j] = result[row_of_pair[pair][i]];
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (!has_point(rows, row_of_pair[pair][i])) continue;
      input_transform<columns>(across[i], result);
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        if (has_point(columns, j)) store(to.at(i, j) + c, result[j]);
      }
    }
  }
}

/// T: what the factors of the products are stored as.
template <int pair, bool whole, typename T>
void transform_inputs(const WinogradConvolution& conv, TileAt at, int count, T* to, std::ptrdiff_t stride) {
  for (int t = 0; t < count; ++t, at.advance()) {
    const Places<pair, whole, T> places(to, stride, at, conv.channels);
    with_size<whole>(
        at.rows(), [&]<int rows>() __attribute__((always_inline)) {
          with_size<whole>(
              at.columns(), [&]<int columns>() __attribute__((always_inline)) {
                transform_input<pair, rows, columns>(conv.in, at, conv.channels, places);
              });
        });
  }
}

/// The pair's contribution to the results of a tile, before what rows share is spread over them; c: the lane.
template <int pair, int rows, int columns, bool whole>
IGEBM_INLINE void transform_output(const Places<pair, whole, const float>& from, int c, V (&results)[2][4]) {
  V a[6], b[6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    if (!has_point(columns, j)) continue;
    const V first = load(from.at(0, j) + c);
    if (!has_point(rows, row_of_pair[pair][1])) {
      a[j] = first;
      continue;
    }
    const V second = load(from.at(1, j) + c);
    a[j] = pair == 0 ? first : first + second;
    b[j] = pair == 0 ? second : first - second;
  }
  output_transform<columns>(a, results[0]);
  if (has_point(rows, row_of_pair[pair][1])) output_transform<columns>(b, results[1]);
}

/// Kept until the last pair's are there: 8 vectors of each pair.
template <int pair, bool whole>
void keep_outputs(const float* from, std::ptrdiff_t stride, TileAt at, int count, int width, float* kept) {
  for (int t = 0; t < count; ++t, kept += 16 * width, at.advance()) {
    const Places<pair, whole, const float> places(from, stride, at, width);
    with_size<whole>(
        at.columns(), [&]<int columns>() __attribute__((always_inline)) {
          for (int c = 0; c < width; c += W) {
            V results[2][4];
            transform_output<pair, 4, columns>(places, c, results);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
              if (i % 4 < columns) store(kept + (8 * pair + i) * W + 16 * c, results[i / 4][i % 4]);
            }
          }
        });
  }
}

/// Of a tile W lanes from c on. A call, for the compiler would keep every address of the loops around in the stack.
template <int pixels>
__attribute__((noinline)) void finish_tile(const Row* rows, V (*results)[4], int height, int x, int c) {
  for (int i = 0; i < height; ++i) {
    V r[pixels];
#pragma GCC unroll 4
    for (int j = 0; j < pixels; ++j) r[j] = results[i][j];
    rows[i].finish(r, x, c);
  }
}

template <int rows, int columns, bool whole>
IGEBM_INLINE void join_outputs(const Places<2, whole, const float>& from, int c, const float* kept,
                               V (&results)[4][4]) {
  V last[2][4];
  if constexpr (rows > 2) transform_output<2, rows, columns>(from, c, last);
#pragma GCC unroll 4
  for (int j = 0; j < columns; ++j) {
    const auto of = [&](int i) __attribute__((always_inline)) { return load(kept + (4 * i + j) * W); };
    const V start = of(0), end = of(1), sum = of(2), difference = of(3);
    results[0][j] = start + sum;
    results[1][j] = difference;
    if constexpr (rows > 2) {
      results[0][j] += last[0][j];
      results[1][j] += 2.0F * last[rows == 4][j];
      results[2][j] = sum + 4.0F * last[0][j];
    }
    if constexpr (rows == 4) results[3][j] = difference + 8.0F * last[1][j];
    results[rows - 1][j] += end;
  }
}

template <bool whole>
void finish_outputs(const float* from, std::ptrdiff_t stride, TileAt at, int count, int width, const float* kept,
                    const Epilogue& epilogue, int first_lane) {
  while (count > 0) {
    const Row rows[4] = {
        {epilogue, at.n, at.y}, {epilogue, at.n, at.y + 1}, {epilogue, at.n, at.y + 2}, {epilogue, at.n, at.y + 3}};
    do {
      const Places<2, whole, const float> places(from, stride, at, width);
      const int height = at.rows(), across = at.columns(), x = at.x;
      for (int c = 0; c < width; c += W) {
        V results[4][4];
        with_size<whole>(
            height, [&]<int tall>() __attribute__((always_inline)) {
              with_size<whole>(
                  across, [&]<int wide>() __attribute__((always_inline)) {
                    join_outputs<tall, wide>(places, c, kept + 16 * c, results);
                    if (wide == 2 && across == 1) {
                      finish_tile<1>(rows, results, height, x, first_lane + c);
                    } else {
                      finish_tile<wide>(rows, results, height, x, first_lane + c);
                    }
                  });
            });
      }
      kept += 16 * width;
      at.advance();
    } while (--count > 0 && at.x > 0);
  }
}

/// One pair of rows of points of a block of `count` tiles from `first` on.
template <int pair, bool whole, typename T>
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
    transform_inputs<pair, whole>(conv, TileAt(extent, first + begin), parts.begin(part + 1) - begin,
                                  in + 12 * in_stride * part, in_stride);
  }
  for (int c = 0; c < extent.lanes; c += panel) {
    const int width = extent.lanes - c < panel ? extent.lanes - c : panel;
    const T* weights = reinterpret_cast<const T*>(conv.weights) + std::ptrdiff_t{36} * channels * c +
                       std::ptrdiff_t{12} * pair * channels * width;
    for (int part = 0; part < parts.parts; ++part) {
      const int begin = parts.begin(part), here = parts.begin(part + 1) - begin;
      const T* from = in + 12 * in_stride * part;
      const TileAt start(extent, first + begin);
      TileAt end = start;
      for (int t = 0; t < here; ++t) end.advance();
      for (int p = 0; p < 12; ++p) {
        const T* b = weights + std::ptrdiff_t{1} * p * channels * width;
        const int rows = end.place(row_of_pair[pair][p / 6], p % 6);
        if (width == panel) {
          products<panel_vectors>(from + p * in_stride, channels, rows, channels, b, out + p * out_stride, width);
        } else {
          products<1>(from + p * in_stride, channels, rows, channels, b, out + p * out_stride, width);
        }
      }
      float* keep = kept + std::ptrdiff_t{16} * (c * count + begin * width);
      if constexpr (pair < 2) {
        keep_outputs<pair, whole>(out, out_stride, start, here, width, keep);
      } else {
        finish_outputs<whole>(out, out_stride, start, here, width, keep, epilogue, c);
      }
    }
  }
}

template <bool whole, typename T>
void winograd_blocks(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const int total = extent.samples * ((extent.height + 3) / 4) * ((extent.width + 3) / 4);
  constexpr int usual = winograd_tiles / tiles_at_once * tiles_at_once;
  const int blocks = total <= usual ? 1 : (total + usual / 2) / usual;
  for (int block = 0, first = 0; block < blocks; ++block) {
    const int count = (total - first + blocks - block - 1) / (blocks - block);
    winograd_pair<0, whole, T>(conv, extent, epilogue, first, count);
    winograd_pair<1, whole, T>(conv, extent, epilogue, first, count);
    winograd_pair<2, whole, T>(conv, extent, epilogue, first, count);
    first += count;
  }
}

template <typename T>
void winograd_of(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  if (extent.height % 4 == 0 && extent.width % 4 == 0) {
    winograd_blocks<true, T>(conv, extent, epilogue);
  } else {
    winograd_blocks<false, T>(conv, extent, epilogue);
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
