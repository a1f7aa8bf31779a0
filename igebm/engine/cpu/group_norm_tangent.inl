// The derivatives of group norm and of its gradient along a tangent (kernels.h), a part of kernels.inl.

// With z = (x - m) s: z' = s (x' - mean(x') - z mean(x' z)), means over the group.
void group_norm_tangent(const GroupNorm& norm, const Extent& extent, const Epilogue& epilogue) {
  alignas(64) float sums[max_lanes], products[max_lanes], a[max_lanes], b[max_lanes], k[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements);
  for (int n = 0; n < extent.samples; ++n) {
    const float *mean = norm.mean + n * extent.lanes, *scale = norm.scale + n * extent.lanes;
    float *mean_dot = norm.mean_dot + n * extent.lanes, *product = norm.product + n * extent.lanes;
    sum_pixels<2>(extent,
                  [&](int y) __attribute__((always_inline)) {
                    return [&, x_line = Line(norm.in, n, y), x_dot = Line(norm.dot, n, y) ](int x, int c, V(&all)[2])
                        __attribute__((always_inline)) {
                      const V dot = x_dot.load(x, c);
                      all[0] += dot;
                      all[1] += dot * (x_line.load(x, c) - load(mean + c));
                    };
                  },
                  {sums, products});
    for (int c = 0; c < extent.lanes; ++c) products[c] *= scale[c];
    share_in_groups(norm, extent.lanes, sums, share, mean_dot);
    share_in_groups(norm, extent.lanes, products, share, product);
    // w z' = k x' - b x + a
    for (int c = 0; c < extent.lanes; ++c) {
      k[c] = norm.weight[c] * scale[c];
      b[c] = k[c] * scale[c] * product[c];
      a[c] = b[c] * mean[c] - k[c] * mean_dot[c];
    }
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      const Line x_line(norm.in, n, y), x_dot(norm.dot, n, y);
      finish_row(
          row, extent.width, extent.lanes, [&](int x, int c) __attribute__((always_inline)) {
            return load(k + c) * x_dot.load(x, c) - load(b + c) * x_line.load(x, c) + load(a + c);
          });
    }
  }
}

// With G = w dE/dy, A = mean(G z), p = mean(x' z) and ' of a product as usual, the derivative of s (G - mean(G) - z A):
//   s (G' - mean(G') - z' A - z mean((G z)') - s p (G - mean(G) - z A))
void group_norm_gradient_tangent(const GroupNorm& norm, const View& gradient, const View& gradient_dot,
                                 const Extent& extent, const Epilogue& epilogue) {
  // Of each lane the sums of g, g', g (x - m), g' (x - m) and g (x' - m').
  constexpr int of_g = 0, of_dot = 1, along = 2, of_dot_along = 3, along_dot = 4, count = 5;
  alignas(64) float sums[count][max_lanes], shared[max_lanes];
  alignas(64) float of_x[max_lanes], of_x_dot[max_lanes], of_gradient[max_lanes], k[max_lanes], rest[max_lanes];
  const float share = 1.0F / static_cast<float>(norm.elements);
  for (int n = 0; n < extent.samples; ++n) {
    const std::ptrdiff_t first = std::ptrdiff_t{1} * n * extent.lanes;
    const float *mean = norm.mean + first, *scale = norm.scale + first, *mean_dot = norm.mean_dot + first,
                *product = norm.product + first;
    for (int c = 0; c < extent.lanes; c += W) {
      V all[count] = {};
      for (int y = 0; y < extent.height; ++y) {
        const Line x_line(norm.in, n, y), x_dot(norm.dot, n, y), g_line(gradient, n, y), g_dot(gradient_dot, n, y);
        for (int x = 0; x < extent.width; ++x) {
          const V g = g_line.load(x, c), dot = g_dot.load(x, c), from = x_line.load(x, c) - load(mean + c);
          all[of_g] += g;
          all[of_dot] += dot;
          all[along] += g * from;
          all[of_dot_along] += dot * from;
          all[along_dot] += g * (x_dot.load(x, c) - load(mean_dot + c));
        }
      }
      for (int i = 0; i < count; ++i) store(sums[i] + c, all[i]);
    }
    for (int c = 0; c < extent.lanes; ++c) {
      sums[along][c] *= scale[c];
      // Of g' z + g z'.
      sums[along_dot][c] = scale[c] * (sums[of_dot_along][c] + sums[along_dot][c] - sums[along][c] * product[c]);
      if (norm.coefficients != nullptr) {
        norm.bias_sums[c] += norm.coefficients[n] * sums[of_dot][c];
        norm.weight_sums[c] += norm.coefficients[n] * sums[along_dot][c];
      }
    }
    for (const int i : {of_g, of_dot, along, along_dot}) {
      for (int c = 0; c < extent.lanes; ++c) sums[i][c] *= norm.weight[c];
      share_in_groups(norm, extent.lanes, sums[i], share, shared);
      for (int c = 0; c < extent.lanes; ++c) sums[i][c] = shared[c];
    }
    for (int c = 0; c < extent.lanes; ++c) {
      const float s = scale[c], turn = s * product[c], A = sums[along][c];
      k[c] = s * norm.weight[c];
      of_gradient[c] = -k[c] * turn;
      of_x_dot[c] = -s * s * A;
      of_x[c] = s * s * (2 * turn * A - sums[along_dot][c]);
      rest[c] = s * (turn * sums[of_g][c] - sums[of_dot][c]) - of_x_dot[c] * mean_dot[c] - of_x[c] * mean[c];
    }
    for (int y = 0; y < extent.height; ++y) {
      const Row row(epilogue, n, y);
      const Line x_line(norm.in, n, y), x_dot(norm.dot, n, y), g_line(gradient, n, y), g_dot(gradient_dot, n, y);
      finish_row(
          row, extent.width, extent.lanes, [&](int x, int c) __attribute__((always_inline)) {
            return load(k + c) * g_dot.load(x, c) + load(of_gradient + c) * g_line.load(x, c) +
                   load(of_x + c) * x_line.load(x, c) + load(of_x_dot + c) * x_dot.load(x, c) + load(rest + c);
          });
    }
  }
}
