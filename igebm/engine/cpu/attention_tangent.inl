// The derivatives of attention and of its gradient along a tangent (kernels.h), a part of kernels.inl. Values lie in
// the first half of the work, their derivatives in the second.

/// c = the scores of a (rows, depth) against b, where both move.
void score_dot(const Tokens& a, const Tokens& a_dot, int first, int rows, int depth, const float* b, const float* b_dot,
               int columns, float* c, std::ptrdiff_t c_stride) {
  each_sum(
      {{a_dot.data + first * a_dot.stride, a_dot.stride, b, depth},
       {a.data + first * a.stride, a.stride, b_dot, depth}},
      rows, columns, [&]<int vectors>(int i, int j, V(&sums)[vectors]) __attribute__((always_inline)) {
        for (int k = 0; k < vectors; ++k) store(c + i * c_stride + j + k * W, sums[k]);
      });
}

// With t = q' k + q k' of the scores, p' = scale * p (t - sum of p t), and out' = p' v + p v'.
void attention_tangent(const Attention& a, const Extent& extent, const Epilogue& epilogue) {
  const int queries = extent.height * extent.width, keys = a.height * a.width;
  const AttentionWork w(a.work, a, extent), dot(w.end, a, extent);
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, w.of_keys);
    pack_lanes(a.keys_dot, n, a.height, a.width, a.depth, dot.of_keys);
    pack_places(a.values, n, a.height, a.width, extent.lanes, w.of_values);
    pack_places(a.values_dot, n, a.height, a.width, extent.lanes, dot.of_values);
    const Tokens q = tokens(a.queries, n, extent.height, extent.width, a.depth, w.copy_of_queries),
                 q_dot = tokens(a.queries_dot, n, extent.height, extent.width, a.depth, dot.copy_of_queries);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, w.of_keys, w.columns, w.weights, w.stride);
      score_dot(q, q_dot, first, count, a.depth, w.of_keys, dot.of_keys, w.columns, dot.weights, w.stride);
      for (int i = 0; i < count; ++i) {
        float* p = w.weights + i * w.stride;
        softmax(p, keys, a.scale);
        softmax_slope(p, dot.weights + i * w.stride, w.columns, a.scale);
      }
      each_sum(
          {{dot.weights, w.stride, w.of_values, keys}, {w.weights, w.stride, dot.of_values, keys}}, count,
          extent.lanes, [&]<int vectors>(int i, int c, V(&sums)[vectors]) __attribute__((always_inline)) {
            finish_token(epilogue, extent, n, first + i, c, sums);
          });
    });
  }
}

/// A row of p, and what its scores move by (t), dE/dp (u) and what that moves by (u_dot) where p is held, to p' (t),
/// dE/d(scores) (u) and its derivative (u_dot):
///   p' = p r, r = scale * (t - sum of p t);  S = scale * p d, d = u - sum of p u;
///   S' = scale * p (m - sum of p m), m = u' + r d
IGEBM_INLINE void softmax_gradient_tangent(const float* p, float* t, float* u, float* u_dot, int lanes, float scale) {
  V of_scores{}, of_weights{};
  for (int j = 0; j < lanes; j += W) {
    of_scores += load(p + j) * load(t + j);
    of_weights += load(p + j) * load(u + j);
  }
  const float mean_t = sum_of_lanes(of_scores), mean_u = sum_of_lanes(of_weights);
  for (int j = 0; j < lanes; j += W) {
    const V share = load(p + j), r = (load(t + j) - mean_t) * scale, d = load(u + j) - mean_u;
    store(t + j, share * r);
    store(u + j, share * d * scale);
    store(u_dot + j, load(u_dot + j) + r * d);
  }
  softmax_slope(p, u_dot, lanes, scale);
}

// Of S k, S' q and p' G (attention_gradient) the derivatives of both factors.
void attention_gradient_tangent(const Attention& a, const Extent& extent) {
  const int queries = extent.height * extent.width, keys = a.height * a.width;
  const AttentionWork w(a.work, a, extent), dot(w.end, a, extent);
  for (int n = 0; n < extent.samples; ++n) {
    pack_lanes(a.keys, n, a.height, a.width, a.depth, w.of_keys);
    pack_lanes(a.keys_dot, n, a.height, a.width, a.depth, dot.of_keys);
    pack_places(a.keys, n, a.height, a.width, a.depth, w.keys_by_place);
    pack_places(a.keys_dot, n, a.height, a.width, a.depth, dot.keys_by_place);
    pack_lanes(a.values, n, a.height, a.width, extent.lanes, w.of_values);
    pack_lanes(a.values_dot, n, a.height, a.width, extent.lanes, dot.of_values);
    const auto rows = [&](const View& v, int lanes, float* copy) {
      return tokens(v, n, extent.height, extent.width, lanes, copy);
    };
    const Tokens q = rows(a.queries, a.depth, w.copy_of_queries),
                 q_dot = rows(a.queries_dot, a.depth, dot.copy_of_queries),
                 g = rows(a.gradient, extent.lanes, w.copy_of_gradient),
                 g_dot = rows(a.gradient_dot, extent.lanes, dot.copy_of_gradient);
    each_block_of_queries(queries, keys, [&](int first, int count) {
      score(q, first, count, a.depth, w.of_keys, w.columns, w.weights, w.stride);
      score_dot(q, q_dot, first, count, a.depth, w.of_keys, dot.of_keys, w.columns, dot.weights, w.stride);
      score(g, first, count, extent.lanes, w.of_values, w.columns, w.slopes, w.stride);
      score_dot(g, g_dot, first, count, extent.lanes, w.of_values, dot.of_values, w.columns, dot.slopes, w.stride);
      for (int i = 0; i < count; ++i) {
        const std::ptrdiff_t row = i * w.stride;
        softmax(w.weights + row, keys, a.scale);
        softmax_gradient_tangent(w.weights + row, dot.weights + row, w.slopes + row, dot.slopes + row, w.columns,
                                 a.scale);
      }
      each_sum(
          {{dot.slopes, w.stride, w.keys_by_place, keys}, {w.slopes, w.stride, dot.keys_by_place, keys}}, count,
          a.depth, [&]<int vectors>(int i, int c, V(&sums)[vectors]) __attribute__((always_inline)) {
            store_token(a.to_queries, extent, n, first + i, c, sums);
          });
      const auto add = [&](const AttentionWork& from, const Tokens& queries_by, const Tokens& gradient_by,
                           bool nothing) {
        add_to_places(from.slopes, w.stride, queries_by, first, count, nothing, a.to_keys, n, a.height, a.width,
                      a.depth);
        add_to_places(from.weights, w.stride, gradient_by, first, count, nothing, a.to_values, n, a.height, a.width,
                      extent.lanes);
      };
      add(dot, q, g, first == 0);
      add(w, q_dot, g_dot, false);
    });
  }
}
