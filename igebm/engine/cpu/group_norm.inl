// Group norm and its gradient (kernels.h), a part of kernels.inl.

/// Sums over a picture's pixels of `lanes` terms that `term` gives for (pixel offset in `in` and `other`, lane).
template <typename Term>
IGEBM_INLINE void sum_pixels(const Extent& extent, const Term& term, float* sums) {
  for (int c = 0; c < extent.lanes; c += W) {
    V sum{}, other{};
    for (int y = 0; y < extent.height; ++y) {
      for (int x = 0; x + 1 < extent.width; x += 2) {
        sum += term(y, x, c);
        other += term(y, x + 1, c);
      }
      if (extent.width % 2 != 0) sum += term(y, extent.width - 1, c);
    }
    store(sums + c, sum + other);
  }
}

/// Every lane gets the sum over its group.
IGEBM_INLINE void share_in_groups(const GroupNorm& norm, int lanes, const float* sums, float factor, float* shared) {
  float totals[max_lanes];
  for (int g = 0; g < norm.groups; ++g) totals[g] = 0;
  for (int c = 0; c < lanes; ++c) {
    if (norm.group[c] >= 0) totals[norm.group[c]] += sums[c];
  }
  for (int c = 0; c < lanes; ++c) shared[c] = norm.group[c] >= 0 ? totals[norm.group[c]] * factor : 0.0F;
}

void group_norm(const GroupNorm& norm, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float sums[max_lanes], squares[max_lanes], factor[max_lanes], offset[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements);
  for (int n = 0; n < extent.samples; ++n) {
    float *mean = norm.mean + n * extent.lanes, *scale = norm.scale + n * extent.lanes;
    const auto at = [&](int y, int x, int c) __attribute__((always_inline)) { return Line(norm.in, n, y).load(x, c); };
    sum_pixels(extent, at, sums);
    share_in_groups(norm, extent.lanes, sums, share, mean);
    sum_pixels(
        extent,
        [&](int y, int x, int c) __attribute__((always_inline)) {
          const V d = at(y, x, c) - load(mean + c);
          return d * d;
        },
        squares);
    share_in_groups(norm, extent.lanes, squares, share, scale);
    for (int c = 0; c < extent.lanes; ++c) {
      scale[c] = 1.0F / __builtin_sqrtf(scale[c] + 1e-5F);
      factor[c] = norm.weight[c] * scale[c];
      offset[c] = norm.bias[c] - factor[c] * mean[c];
    }
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      for (int x = 0; x < extent.width; ++x) {
        for (int c = 0; c < extent.lanes; c += W) row.finish(at(y, x, c) * load(factor + c) + load(offset + c), x, c);
      }
    }
  }
}

// With z = (x - m) s, y = w z + b and G = w dE/dy: dE/dx = s (G - mean(G) - z mean(G z)), means over the group.
void group_norm_gradient(const GroupNorm& norm, const View& gradient, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float sums[max_lanes], products[max_lanes], a[max_lanes], b[max_lanes], k[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements);
  for (int n = 0; n < extent.samples; ++n) {
    const float *mean = norm.mean + n * extent.lanes, *scale = norm.scale + n * extent.lanes;
    const auto x_at = [&](int y, int x, int c) __attribute__((always_inline)) {
      return Line(norm.in, n, y).load(x, c);
    };
    const auto g_at = [&](int y, int x, int c) __attribute__((always_inline)) {
      return Line(gradient, n, y).load(x, c);
    };
    sum_pixels(extent, g_at, sums);
    sum_pixels(
        extent,
        [&](int y, int x, int c)
            __attribute__((always_inline)) { return g_at(y, x, c) * (x_at(y, x, c) - load(mean + c)); },
        products);
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
      for (int x = 0; x < extent.width; ++x) {
        for (int c = 0; c < extent.lanes; c += W) {
          row.finish(load(k + c) * g_at(y, x, c) - load(b + c) * x_at(y, x, c) + load(a + c), x, c);
        }
      }
    }
  }
}
