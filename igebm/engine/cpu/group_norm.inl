// Group norm and its gradient (kernels.h), a part of kernels.inl.

/// Sums over a picture's pixels of `count` terms for each lane: of_row(y)(x, c, sums) adds a pixel's.
template <int count, typename OfRow>
IGEBM_INLINE void sum_pixels(const Extent& extent, const OfRow& of_row, float* const (&sums)[count]) {
  constexpr int chains = 4;  // of additions, each of which takes as long as several could
  for (int c = 0; c < extent.lanes; c += W) {
    V all[chains][count] = {};
    for (int y = 0; y < extent.height; ++y) {
      const auto add = of_row(y);
      int x = 0;
      for (; x + chains <= extent.width; x += chains) {
#pragma GCC unroll 4
        for (int i = 0; i < chains; ++i) add(x + i, c, all[i]);
      }
      for (; x < extent.width; ++x) add(x, c, all[0]);
    }
#pragma GCC unroll 2
    for (int k = 0; k < count; ++k) store(sums[k] + c, (all[0][k] + all[1][k]) + (all[2][k] + all[3][k]));
  }
}

/// Every lane gets of_sum(the sum over its group), padding 0.
template <typename OfSum>
IGEBM_INLINE void share_in_groups(const GroupNorm& norm, int lanes, const float* sums, float* shared,
                                  const OfSum& of_sum) {
  float totals[max_lanes];
  for (int g = 0; g < norm.groups; ++g) totals[g] = 0;
  for (int c = 0; c < lanes;) {
    const int group = norm.group[c];
    float run = 0;  // lanes of a group mostly follow one another: their sum stays in a register
    for (; c < lanes && norm.group[c] == group; ++c) run += sums[c];
    if (group >= 0) totals[group] += run;
  }
  for (int g = 0; g < norm.groups; ++g) totals[g] = of_sum(totals[g]);
  for (int c = 0; c < lanes; ++c) shared[c] = norm.group[c] >= 0 ? totals[norm.group[c]] : 0.0F;
}

IGEBM_INLINE void share_in_groups(const GroupNorm& norm, int lanes, const float* sums, float factor, float* shared) {
  share_in_groups(norm, lanes, sums, shared, [&](float total) { return total * factor; });
}

// One pass for both sums, of what lanes differ by from their first pixel: mean and variance would cancel where the mean
// is far from 0.
void group_norm(const GroupNorm& norm, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float first[max_lanes], sums[max_lanes], squares[max_lanes], factor[max_lanes], offset[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements),
              pixels = static_cast<float>(extent.height * extent.width);
  for (int n = 0; n < extent.samples; ++n) {
    float *mean = norm.mean + n * extent.lanes, *scale = norm.scale + n * extent.lanes;
    const Line start(norm.in, n, 0);
    for (int c = 0; c < extent.lanes; c += W) store(first + c, start.load(0, c));
    sum_pixels<2>(extent,
                  [&](int y) __attribute__((always_inline)) {
                    return [&, line = Line(norm.in, n, y) ](int x, int c, V(&all)[2]) __attribute__((always_inline)) {
                      const V d = line.load(x, c) - load(first + c);
                      all[0] += d;
                      all[1] += d * d;
                    };
                  },
                  {sums, squares});
    for (int c = 0; c < extent.lanes; ++c) factor[c] = sums[c] + pixels * first[c];
    share_in_groups(norm, extent.lanes, factor, share, mean);
    for (int c = 0; c < extent.lanes; ++c) {
      const float d = first[c] - mean[c];
      squares[c] += d * (2 * sums[c] + pixels * d);
    }
    share_in_groups(norm, extent.lanes, squares, scale,
                    [&](float total) { return 1.0F / __builtin_sqrtf(total * share + 1e-5F); });
    for (int c = 0; c < extent.lanes; ++c) {
      factor[c] = norm.weight[c] * scale[c];
      offset[c] = norm.bias[c] - factor[c] * mean[c];
    }
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      finish_row(
          row, extent.width, extent.lanes,
          [&, line = Line(norm.in, n, y) ](int x, int c)
              __attribute__((always_inline)) { return line.load(x, c) * load(factor + c) + load(offset + c); });
    }
  }
}

// With z = (x - m) s, y = w z + b and G = w dE/dy: dE/dx = s (G - mean(G) - z mean(G z)), means over the group.
void group_norm_gradient(const GroupNorm& norm, const View& gradient, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float sums[max_lanes], products[max_lanes], a[max_lanes], b[max_lanes], k[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements);
  for (int n = 0; n < extent.samples; ++n) {
    const float *mean = norm.mean + n * extent.lanes, *scale = norm.scale + n * extent.lanes;
    sum_pixels<2>(extent,
                  [&](int y) __attribute__((always_inline)) {
                    return [&, x_line = Line(norm.in, n, y), g_line = Line(gradient, n, y) ](int x, int c, V(&all)[2])
                        __attribute__((always_inline)) {
                      const V g = g_line.load(x, c);
                      all[0] += g;
                      all[1] += g * (x_line.load(x, c) - load(mean + c));
                    };
                  },
                  {sums, products});
    if (norm.coefficients != nullptr) {
      for (int c = 0; c < extent.lanes; ++c) {
        norm.bias_sums[c] += norm.coefficients[n] * sums[c];
        norm.weight_sums[c] += norm.coefficients[n] * products[c] * scale[c];
      }
    }
    for (int c = 0; c < extent.lanes; ++c) {
      sums[c] *= norm.weight[c];
      products[c] *= norm.weight[c] * scale[c];
    }
    share_in_groups(norm, extent.lanes, sums, share, a);
    share_in_groups(norm, extent.lanes, products, share, b);
    // dE/dx = k g - b s^2 x + (b s^2 m - a s)
    for (int c = 0; c < extent.lanes; ++c) {
      k[c] = norm.weight[c] * scale[c];
      const float slope = b[c] * scale[c] * scale[c];
      a[c] = slope * mean[c] - a[c] * scale[c];
      b[c] = slope;
    }
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      const Line x_line(norm.in, n, y), g_line(gradient, n, y);
      finish_row(
          row, extent.width, extent.lanes, [&](int x, int c) __attribute__((always_inline)) {
            return load(k + c) * g_line.load(x, c) - load(b + c) * x_line.load(x, c) + load(a + c);
          });
    }
  }
}
