// Direct convolutions and the gradients of their weights (kernels.h), a part of kernels.inl.

template <int rows, int vectors>
void direct_block(const DirectConvolution& conv, const float* in, const float* weights, const Row& row, int x, int c) {
  V sums[rows][vectors] = {};
  for (int t = 0; t < conv.taps; ++t) {
    multiply_rows<rows, vectors>(in + conv.offsets[t], conv.in.pixel, weights, conv.channels, sums);
    weights += static_cast<std::ptrdiff_t>(conv.channels) * vectors * W;
  }
#pragma GCC unroll 4
  for (int j = 0; j < vectors; ++j) {
    finish_pixels<rows>(
        row, x, c + j * W, [&](int m) __attribute__((always_inline)) { return sums[m][j]; });
  }
}

template <int vectors>
void direct_panel(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue, const float* weights,
                  int c) {
  const int blocks = (extent.width + max_rows - 1) / max_rows;
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const float* in = conv.in.data + n * conv.in.sample + y * conv.in.row;
      const Row row(epilogue, n, y);
      for (int i = 0, x = 0; i < blocks; ++i) {
        const int here = (extent.width - x + blocks - i - 1) / (blocks - i);
        with_rows_from<max_rows>(
            here, [&]<int count>() __attribute__((always_inline)) {
              direct_block<count, vectors>(conv, in + x * conv.in.pixel, weights, row, x, c);
            });
        x += here;
      }
    }
  }
}

void direct(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const std::ptrdiff_t depth = static_cast<std::ptrdiff_t>(conv.taps) * conv.channels;
  for (int c = 0; c < extent.lanes; c += panel) {
    if (c + panel <= extent.lanes) {
      direct_panel<panel_vectors>(conv, extent, epilogue, conv.weights + depth * c, c);
    } else {
      direct_panel<1>(conv, extent, epilogue, conv.weights + depth * c, c);
    }
  }
}

template <int outputs, int pixels>
IGEBM_INLINE void few_block(const DirectConvolution& conv, const Line& in, const Row& row, int x, int lanes) {
  V sums[pixels][outputs] = {};
  const std::ptrdiff_t depth = static_cast<std::ptrdiff_t>(conv.taps) * conv.channels;
  const float* weights = conv.weights;
  for (int t = 0; t < conv.taps; ++t) {
    for (int c = 0; c < conv.channels; c += W, weights += W) {
      V right[outputs];
#pragma GCC unroll 4
      for (int o = 0; o < outputs; ++o) right[o] = load(weights + o * depth);
#pragma GCC unroll 4
      for (int m = 0; m < pixels; ++m) {
        const V left = in.load(x + m, conv.offsets[t] + c);
#pragma GCC unroll 4
        for (int o = 0; o < outputs; ++o) sums[m][o] += left * right[o];
      }
    }
  }
  V r[pixels] = {};
#pragma GCC unroll 4
  for (int m = 0; m < pixels; ++m) {
#pragma GCC unroll 4
    for (int o = 0; o < outputs; ++o) r[m][o] = sum_of_lanes(sums[m][o]);
  }
  row.finish(r, x, 0);
  for (int c = W; c < lanes; c += W) {
    V none[pixels] = {};
    row.finish(none, x, c);
  }
}

template <int outputs>
void few(const DirectConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  for (int n = 0; n < extent.samples; ++n) {
    for (int y = 0; y < extent.height; ++y) {
      const Line in(conv.in, n, y);
      const Row row(epilogue, n, y);
      int x = 0;
      for (; x + 4 <= extent.width; x += 4) few_block<outputs, 4>(conv, in, row, x, extent.lanes);
      for (; x < extent.width; ++x) few_block<outputs, 1>(conv, in, row, x, extent.lanes);
    }
  }
}

void direct_few(const DirectConvolution& conv, int outputs, const Extent& extent, const Epilogue& epilogue) {
  if (outputs == 1) few<1>(conv, extent, epilogue);
  if (outputs == 2) few<2>(conv, extent, epilogue);
  if (outputs == 3) few<3>(conv, extent, epilogue);
  if (outputs == 4) few<4>(conv, extent, epilogue);
}

constexpr int max_channels = IGEBM_REGISTERS == 32 ? 8 : 4;  // of a block of weights' gradients: registers, again

template <int channels, int vectors, typename In, typename Of>
void weight_block(const DirectConvolution& conv, const In* in, const Of* gradient, const View& g, const Extent& extent,
                  const float* coefficients, bool by_pixel, float* to) {
  V sums[channels][vectors] = {};
  for (int y = 0; y < extent.height; ++y) {
    const In* p = in + y * conv.in.row;
    const Of* q = gradient + y * g.row;
    for (int x = 0; x < extent.width; ++x, p += conv.in.pixel, q += g.pixel) {
      V right[vectors];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) right[j] = load_as_float(q + j * W);
      if (by_pixel) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) right[j] *= coefficients[x];
      }
#pragma GCC unroll 8
      for (int m = 0; m < channels; ++m) {
        const V left = all(as_float(p[m]));
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) sums[m][j] += left * right[j];
      }
    }
  }
  const float factor = by_pixel ? 1.0F : *coefficients;
#pragma GCC unroll 8
  for (int m = 0; m < channels; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      float* here = to + static_cast<std::ptrdiff_t>(m) * extent.lanes + j * W;
      store(here, load(here) + factor * sums[m][j]);
    }
  }
}

template <int vectors, typename In, typename Of>
void weight_panel(const DirectConvolution& conv, const In* in, const Of* gradient, const View& g, const Extent& extent,
                  const float* coefficients, bool by_pixel, float* sums) {
  for (int t = 0; t < conv.taps; ++t) {
    for (int c = 0; c < conv.channels; c += max_channels) {
      const int here = conv.channels - c < max_channels ? conv.channels - c : max_channels;
      float* to = sums + (static_cast<std::ptrdiff_t>(t) * conv.channels + c) * extent.lanes;
      with_rows_from<max_channels>(
          here, [&]<int channels>() __attribute__((always_inline)) {
            weight_block<channels, vectors>(conv, in + conv.offsets[t] + c, gradient, g, extent, coefficients, by_pixel,
                                            to);
          });
    }
  }
}

template <typename In, typename Of>
void weight_gradient_of(const DirectConvolution& conv, const View& gradient, const Extent& extent,
                        const float* coefficients, bool by_pixel, float* sums) {
  for (int n = 0; n < extent.samples; ++n) {
    const In* in = reinterpret_cast<const In*>(conv.in.data) + n * conv.in.sample;
    const Of* g = reinterpret_cast<const Of*>(gradient.data) + n * gradient.sample;
    for (int c = 0; c < extent.lanes; c += panel) {
      if (c + panel <= extent.lanes) {
        weight_panel<panel_vectors>(conv, in, g + c, gradient, extent, coefficients + n, by_pixel, sums + c);
      } else {
        weight_panel<1>(conv, in, g + c, gradient, extent, coefficients + n, by_pixel, sums + c);
      }
    }
  }
}

void weight_gradient(const DirectConvolution& conv, const View& gradient, const Extent& extent,
                     const float* coefficients, bool by_pixel, float* sums) {
#ifdef IGEBM_AMX
  if (!by_pixel && tile_weight_gradient(conv, gradient, extent, coefficients, sums)) return;
  if (conv.in.bf16 && gradient.bf16)
    return weight_gradient_of<Bf16, Bf16>(conv, gradient, extent, coefficients, by_pixel, sums);
  if (conv.in.bf16) return weight_gradient_of<Bf16, float>(conv, gradient, extent, coefficients, by_pixel, sums);
  if (gradient.bf16) return weight_gradient_of<float, Bf16>(conv, gradient, extent, coefficients, by_pixel, sums);
#endif
  weight_gradient_of<float, float>(conv, gradient, extent, coefficients, by_pixel, sums);
}

void pack_direct(const float* weights, int taps, int channels, int outputs, float* packed) {
  const int depth = taps * channels;
  for (int c = 0; c < outputs; c += panel) {
    const int width = outputs - c < panel ? outputs - c : panel;
    for (int k = 0; k < depth; ++k) {
      for (int o = 0; o < width; ++o) *packed++ = weights[static_cast<std::ptrdiff_t>(k) * outputs + c + o];
    }
  }
}
