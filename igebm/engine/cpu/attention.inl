// Attention (kernels.h), a part of kernels.inl. Of each sample, blocks of queries go against all keys, so that the
// weights of a block are whole rows and nothing larger than a block of them is ever stored; the gradient makes them
// anew from queries and keys, as FlashAttention does (Dao et al. 2022).

IGEBM_INLINE float* token(const View& v, int n, int width, int t) {
  return v.data + n * v.sample + t / width * v.row + t % width * v.pixel;
}

/// A sample's pixels, one after another.
struct Tokens {
  const float* data;
  std::ptrdiff_t stride;
};

/// As they lie where there is no border between rows, else copied to `copy`.
Tokens tokens(const View& v, int n, int height, int width, int lanes, float* copy) {
  if (height == 1 || v.row == width * v.pixel) return {v.data + n * v.sample, v.pixel};
  for (int t = 0; t < height * width; ++t) {
    const float* from = token(v, n, width, t);
    for (int c = 0; c < lanes; c += W) store(copy + static_cast<std::ptrdiff_t>(t) * lanes + c, load(from + c));
  }
  return {copy, lanes};
}

/// Calls f(start, <vectors>) for each panel of `lanes`.
template <typename F>
IGEBM_INLINE void each_panel(int lanes, const F& f) {
  for (int c = 0; c < lanes; c += panel) {
    if (c + panel <= lanes) {
      f.template operator()<panel_vectors>(c);
    } else {
      f.template operator()<1>(c);
    }
  }
}

/// Calls f(start, <rows>) for blocks of nearly equal size.
template <typename F>
IGEBM_INLINE void each_block(int rows, const F& f) {
  const int blocks = (rows + max_rows - 1) / max_rows;
  for (int i = 0, done = 0; i < blocks; ++i) {
    const int here = (rows - done + blocks - i - 1) / (blocks - i);
    with_rows_from<max_rows>(
        here, [&]<int count>() __attribute__((always_inline)) { f.template operator()<count>(done); });
    done += here;
  }
}

/// The right side of a product over places: (places, lanes) in panels of lanes.
void pack_places(const View& v, int n, int height, int width, int lanes, float* packed) {
  const int places = height * width;
  each_panel(
      lanes, [&]<int vectors>(int c) __attribute__((always_inline)) {
        float* to = packed + static_cast<std::ptrdiff_t>(places) * c;
        for (int t = 0; t < places; ++t, to += vectors * W) {
          const float* from = token(v, n, width, t) + c;
#pragma GCC unroll 4
          for (int j = 0; j < vectors; ++j) store(to + j * W, load(from + j * W));
        }
      });
}

/// The right side of a product over lanes: (lanes, places) in panels of places, zeros in those that pad.
void pack_lanes(const View& v, int n, int height, int width, int lanes, float* packed) {
  const int places = height * width;
  each_panel(
      padded(places), [&]<int vectors>(int first) __attribute__((always_inline)) {
        float* to = packed + static_cast<std::ptrdiff_t>(lanes) * first;
        for (int o = 0; o < vectors * W; ++o) {
          const bool there = first + o < places;
          const float* from = there ? token(v, n, width, first + o) : nullptr;
          for (int k = 0; k < lanes; ++k) to[k * vectors * W + o] = there ? from[k] : 0.0F;
        }
      });
}

/// c (rows, columns) = a (rows, depth) b, b from pack_lanes.
void score(const Tokens& a, int first, int rows, int depth, const float* b, int columns, float* c,
           std::ptrdiff_t c_stride) {
  each_panel(
      columns, [&]<int vectors>(int j) __attribute__((always_inline)) {
        products<vectors>(a.data + first * a.stride, a.stride, rows, depth, b + static_cast<std::ptrdiff_t>(depth) * j,
                          c + j, c_stride);
      });
}

template <int half = W / 2>
IGEBM_INLINE float most_of_lanes(V v) {
  const V other = rotated<half>(v, std::make_index_sequence<W>());
  v = v > other ? v : other;
  if constexpr (half > 1) {
    return most_of_lanes<half / 2>(v);
  } else {
    return v[0];
  }
}

/// p = softmax(scale * p) over the first `keys`; what pads them comes to nothing.
IGEBM_INLINE void softmax(float* p, int keys, float scale) {
  const int lanes = padded(keys);
  for (int j = keys; j < lanes; ++j) p[j] = -1e30F;
  V most = load(p);
  for (int j = W; j < lanes; j += W) {
    const V v = load(p + j);
    most = most > v ? most : v;
  }
  const float top = most_of_lanes(most);
  V sum{};
  for (int j = 0; j < lanes; j += W) {
    const V v = exponential((load(p + j) - top) * scale);
    store(p + j, v);
    sum += v;
  }
  const float share = 1.0F / sum_of_lanes(sum);
  for (int j = 0; j < lanes; j += W) store(p + j, load(p + j) * share);
}

/// sums[m][j] += sum over k of a[k * a_stride + m] * b[k * b_stride + j W].
template <int rows, int vectors>
IGEBM_INLINE void multiply_columns(const float* a, std::ptrdiff_t a_stride, const float* b, std::ptrdiff_t b_stride,
                                   int depth, V (&sums)[rows][vectors]) {
  for (int k = 0; k < depth; ++k, a += a_stride, b += b_stride) {
    V right[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) right[j] = load(b + j * W);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
      const V left = all(a[m]);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[m][j] += left * right[j];
    }
  }
}

/// to(place) += sum over a block of queries of weights(query, place) * from(query); = where nothing is there yet.
void add_to_places(const float* weights, std::ptrdiff_t stride, const Tokens& from, int first, int count, bool nothing,
                   const View& to, int n, int height, int width, int lanes) {
  each_panel(
      lanes, [&]<int vectors>(int c) __attribute__((always_inline)) {
        each_block(
            height * width, [&]<int rows>(int t) __attribute__((always_inline)) {
              V sums[rows][vectors] = {};
              multiply_columns<rows, vectors>(weights + t, stride, from.data + first * from.stride + c, from.stride,
                                              count, sums);
#pragma GCC unroll 16
              for (int m = 0; m < rows; ++m) {
                float* here = token(to, n, width, t + m) + c;
#pragma GCC unroll 4
                for (int j = 0; j < vectors; ++j)
                  store(here + j * W, nothing ? sums[m][j] : load(here + j * W) + sums[m][j]);
              }
            });
      });
}

/// Calls f(first, count) for blocks of queries.
template <typename F>
IGEBM_INLINE void each_block_of_queries(int queries, int keys, const F& f) {
  const int most = attention_block(queries, keys), blocks = (queries + most - 1) / most;
  for (int i = 0, first = 0; i < blocks; ++i) {
    const int count = (queries - first + blocks - i - 1) / (blocks - i);
    f(first, count);
    first += count;
  }
}

void attention(const Attention& a, const Extent& extent, const Epilogue& epilogue) {
  const int queries = extent.height * extent.width, keys = a.height * a.width, columns = padded(keys);
  const std::ptrdiff_t stride = columns + lane_block;  // rows apart from one another's cache lines
  float* of_keys = a.work;
  float* of_values = of_keys + static_cast<std::ptrdiff_t>(columns) * a.depth;
  float* copy = of_values + static_cast<std::ptrdiff_t>(columns) * extent.lanes;
  float* weights = copy + static_cast<std::ptrdiff_t>(queries) * a.depth;
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, of_keys);
    pack_places(a.values, n, a.height, a.width, extent.lanes, of_values);
    const Tokens q = tokens(a.queries, n, extent.height, extent.width, a.depth, copy);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, of_keys, columns, weights, stride);
      for (int i = 0; i < count; ++i) softmax(weights + i * stride, keys, a.scale);
      each_panel(
          extent.lanes, [&]<int vectors>(int c) __attribute__((always_inline)) {
            each_block(
                count, [&]<int rows>(int i) __attribute__((always_inline)) {
                  V sums[rows][vectors] = {};
                  multiply_rows<rows, vectors>(weights + i * stride, stride,
                                               of_values + static_cast<std::ptrdiff_t>(keys) * c, keys, sums);
#pragma GCC unroll 16
                  for (int m = 0; m < rows; ++m) {
                    const int t = first + i + m;
                    const Row row(epilogue, n, t / extent.width);
#pragma GCC unroll 4
                    for (int j = 0; j < vectors; ++j) row.finish(sums[m][j], t % extent.width, c + j * W);
                  }
                });
          });
    });
  }
}

// With p = softmax(s q k'), out = p v and G = dE/d(out): dE/dv = p' G, and of the scores S = scale * p (G v' - sum over
// keys of p (G v')), from which dE/dq = S k and dE/dk = S' q.
void attention_gradient(const Attention& a, const Extent& extent) {
  const int queries = extent.height * extent.width, keys = a.height * a.width, columns = padded(keys);
  const std::ptrdiff_t stride = columns + lane_block;
  float* of_keys = a.work;
  float* keys_by_place = of_keys + static_cast<std::ptrdiff_t>(columns) * a.depth;
  float* of_values = keys_by_place + static_cast<std::ptrdiff_t>(columns) * a.depth;
  float* copy_of_queries = of_values + static_cast<std::ptrdiff_t>(columns) * extent.lanes;
  float* copy_of_gradient = copy_of_queries + static_cast<std::ptrdiff_t>(queries) * a.depth;
  float* weights = copy_of_gradient + static_cast<std::ptrdiff_t>(queries) * extent.lanes;
  float* slopes = weights + attention_block(queries, keys) * stride;
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, of_keys);
    pack_places(a.keys, n, a.height, a.width, a.depth, keys_by_place);
    pack_lanes(a.values, n, a.height, a.width, extent.lanes, of_values);
    const Tokens q = tokens(a.queries, n, extent.height, extent.width, a.depth, copy_of_queries);
    const Tokens g = tokens(a.gradient, n, extent.height, extent.width, extent.lanes, copy_of_gradient);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, of_keys, columns, weights, stride);
      score(g, first, count, extent.lanes, of_values, columns, slopes, stride);
      for (int i = 0; i < count; ++i) {
        float *p = weights + i * stride, *s = slopes + i * stride;
        softmax(p, keys, a.scale);
        V mean{};
        for (int j = 0; j < columns; j += W) mean += load(p + j) * load(s + j);
        const float shared = sum_of_lanes(mean);
        for (int j = 0; j < columns; j += W) store(s + j, load(p + j) * (load(s + j) - shared) * a.scale);
      }
      each_panel(
          a.depth, [&]<int vectors>(int c) __attribute__((always_inline)) {
            each_block(
                count, [&]<int rows>(int i) __attribute__((always_inline)) {
                  V sums[rows][vectors] = {};
                  multiply_rows<rows, vectors>(slopes + i * stride, stride,
                                               keys_by_place + static_cast<std::ptrdiff_t>(keys) * c, keys, sums);
#pragma GCC unroll 16
                  for (int m = 0; m < rows; ++m) {
                    float* to = token(a.to_queries, n, extent.width, first + i + m) + c;
#pragma GCC unroll 4
                    for (int j = 0; j < vectors; ++j) store(to + j * W, sums[m][j]);
                  }
                });
          });
      add_to_places(slopes, stride, q, first, count, first == 0, a.to_keys, n, a.height, a.width, a.depth);
      add_to_places(weights, stride, g, first, count, first == 0, a.to_values, n, a.height, a.width, extent.lanes);
    });
  }
}
