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
    const V v = power_of_two(clamped((load(p + j) - top) * (scale * log2_e), -126, 126));
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

/// (rows, depth) times (depth, lanes), the latter in panels of lanes.
struct Product {
  const float* left;
  std::ptrdiff_t stride;
  const float* right;
  int depth;
};

/// Calls f(row, lane, vectors of lanes) for the sum of the products.
template <int count, typename F>
IGEBM_INLINE void each_sum(const Product (&products)[count], int rows, int lanes, const F& f) {
  each_panel(
      lanes, [&]<int vectors>(int c) __attribute__((always_inline)) {
        each_block(
            rows, [&]<int block>(int i) __attribute__((always_inline)) {
              V sums[block][vectors] = {};
              for (const Product& p : products) {
                multiply_rows<block, vectors>(p.left + i * p.stride, p.stride,
                                              p.right + static_cast<std::ptrdiff_t>(p.depth) * c, p.depth, sums);
              }
#pragma GCC unroll 16
              for (int m = 0; m < block; ++m) f(i + m, c, sums[m]);
            });
      });
}

/// s = scale * p * (s - sum of p * s): what moves the softmax p where what it is of moves by s.
IGEBM_INLINE void softmax_slope(const float* p, float* s, int lanes, float scale) {
  V mean{};
  for (int j = 0; j < lanes; j += W) mean += load(p + j) * load(s + j);
  const float shared = sum_of_lanes(mean);
  for (int j = 0; j < lanes; j += W) store(s + j, load(p + j) * (load(s + j) - shared) * scale);
}

/// What attention_work(...) floats hold of a sample.
struct AttentionWork {
  int columns;
  std::ptrdiff_t stride;  ///< of weights and slopes: rows apart from one another's cache lines
  float *of_keys, *keys_by_place, *of_values, *copy_of_queries, *copy_of_gradient, *weights, *slopes, *end;

  AttentionWork(float* start, const Attention& a, const Extent& extent) {
    const int queries = extent.height * extent.width, keys = a.height * a.width;
    columns = padded(keys);
    stride = columns + lane_block;
    const auto take = [&](std::ptrdiff_t rows, std::ptrdiff_t width) {
      float* const here = start;
      start += rows * width;
      return here;
    };
    of_keys = take(columns, a.depth);
    keys_by_place = take(columns, a.depth);
    of_values = take(columns, extent.lanes);
    copy_of_queries = take(queries, a.depth);
    copy_of_gradient = take(queries, extent.lanes);
    weights = take(attention_block(queries, keys), stride);
    slopes = take(attention_block(queries, keys), stride);
    end = start;
  }
};

/// A panel's vectors of attention's result, finished.
template <int vectors>
IGEBM_INLINE void finish_token(const Epilogue& epilogue, const Extent& extent, int n, int t, int c,
                               V (&sums)[vectors]) {
  const Row row(epilogue, n, t / extent.width);
#pragma GCC unroll 4
  for (int j = 0; j < vectors; ++j) row.finish(sums[j], t % extent.width, c + j * W);
}

template <int vectors>
IGEBM_INLINE void store_token(const View& to, const Extent& extent, int n, int t, int c, const V (&sums)[vectors]) {
  float* here = token(to, n, extent.width, t) + c;
#pragma GCC unroll 4
  for (int j = 0; j < vectors; ++j) store(here + j * W, sums[j]);
}

void attention(const Attention& a, const Extent& extent, const Epilogue& epilogue) {
  const int queries = extent.height * extent.width, keys = a.height * a.width;
  const AttentionWork w(a.work, a, extent);
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, w.of_keys);
    pack_places(a.values, n, a.height, a.width, extent.lanes, w.of_values);
    const Tokens q = tokens(a.queries, n, extent.height, extent.width, a.depth, w.copy_of_queries);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, w.of_keys, w.columns, w.weights, w.stride);
      for (int i = 0; i < count; ++i) softmax(w.weights + i * w.stride, keys, a.scale);
      each_sum(
          {{w.weights, w.stride, w.of_values, keys}}, count,
          extent.lanes, [&]<int vectors>(int i, int c, V(&sums)[vectors]) __attribute__((always_inline)) {
            finish_token(epilogue, extent, n, first + i, c, sums);
          });
    });
  }
}

// With p = softmax(s q k'), out = p v and G = dE/d(out): dE/dv = p' G, and of the scores S = scale * p (G v' - sum over
// keys of p (G v')), from which dE/dq = S k and dE/dk = S' q.
void attention_gradient(const Attention& a, const Extent& extent) {
  const int queries = extent.height * extent.width, keys = a.height * a.width;
  const AttentionWork w(a.work, a, extent);
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, w.of_keys);
    pack_places(a.keys, n, a.height, a.width, a.depth, w.keys_by_place);
    pack_lanes(a.values, n, a.height, a.width, extent.lanes, w.of_values);
    const Tokens q = tokens(a.queries, n, extent.height, extent.width, a.depth, w.copy_of_queries);
    const Tokens g = tokens(a.gradient, n, extent.height, extent.width, extent.lanes, w.copy_of_gradient);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, w.of_keys, w.columns, w.weights, w.stride);
      score(g, first, count, extent.lanes, w.of_values, w.columns, w.slopes, w.stride);
      for (int i = 0; i < count; ++i) {
        float* p = w.weights + i * w.stride;
        softmax(p, keys, a.scale);
        softmax_slope(p, w.slopes + i * w.stride, w.columns, a.scale);
      }
      each_sum(
          {{w.slopes, w.stride, w.keys_by_place, keys}}, count,
          a.depth, [&]<int vectors>(int i, int c, V(&sums)[vectors]) __attribute__((always_inline)) {
            store_token(a.to_queries, extent, n, first + i, c, sums);
          });
      const bool nothing = first == 0;
      add_to_places(w.slopes, w.stride, q, first, count, nothing, a.to_keys, n, a.height, a.width, a.depth);
      add_to_places(w.weights, w.stride, g, first, count, nothing, a.to_values, n, a.height, a.width, extent.lanes);
    });
  }
}
