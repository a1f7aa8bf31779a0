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

/// T: what the factors of the products are stored as.
template <typename T>
void winograd_of(const WinogradConvolution& conv, const Extent& extent, const Epilogue& epilogue) {
  const int down = (extent.height + 3) / 4, across = (extent.width + 3) / 4, per_sample = down * across;
  const int total = extent.samples * per_sample;
  const int blocks = (total + conv.tiles - 1) / conv.tiles;
  const int channels = conv.channels, outputs = extent.lanes;
  for (int block = 0, first = 0; block < blocks; ++block) {
    const int count = (total - first + blocks - block - 1) / (blocks - block);
    // 16 floats between the 36 matrices keep them out of one another's cache lines.
    const std::ptrdiff_t in_stride = static_cast<std::ptrdiff_t>(count) * channels + 16;
    const std::ptrdiff_t out_stride = static_cast<std::ptrdiff_t>(count) * outputs + 16;
    T* in = reinterpret_cast<T*>(conv.work);
    float* out = conv.work + 36 * in_stride;

    for (int t = 0; t < count; ++t) {
      const int n = (first + t) / per_sample, y = (first + t) % per_sample / across * 4, x = (first + t) % across * 4;
      const float* corner = conv.in.data + n * conv.in.sample + (y - 1) * conv.in.row + (x - 1) * conv.in.pixel;
      for (int c = 0; c < channels; c += W) {
        V rows[6][6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          V column[6], result[6];
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) column[i] = load(corner + i * conv.in.row + j * conv.in.pixel + c);
          input_transform(column, result);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) rows[i][j] = result[i];
        }
        T* to = in + static_cast<std::ptrdiff_t>(t) * channels + c;
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) {
          V result[6];
          input_transform(rows[i], result);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) store(to + (6 * i + j) * in_stride, result[j]);
        }
      }
    }

    for (int p = 0; p < 36; ++p) {
      const T* weights = reinterpret_cast<const T*>(conv.weights) + static_cast<std::ptrdiff_t>(p) * channels * outputs;
      for (int c = 0; c < outputs; c += panel) {
        const T* b = weights + static_cast<std::ptrdiff_t>(channels) * c;
        if (c + panel <= outputs) {
          products<panel_vectors>(in + p * in_stride, channels, count, channels, b, out + p * out_stride + c, outputs);
        } else {
          products<1>(in + p * in_stride, channels, count, channels, b, out + p * out_stride + c, outputs);
        }
      }
    }

    for (int t = 0; t < count; ++t) {
      const int n = (first + t) / per_sample, y = (first + t) % per_sample / across * 4, x = (first + t) % across * 4;
      const int height = extent.height - y < 4 ? extent.height - y : 4,
                width = extent.width - x < 4 ? extent.width - x : 4;
      for (int c = 0; c < outputs; c += W) {
        const float* from = out + static_cast<std::ptrdiff_t>(t) * outputs + c;
        V rows[4][6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          V column[6], result[4];
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) column[i] = load(from + (6 * i + j) * out_stride);
          output_transform(column, result);
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) rows[i][j] = result[i];
        }
        for (int i = 0; i < height; ++i) {
          V result[4];
          output_transform(rows[i], result);
          const Row row(epilogue, n, y + i);
          for (int j = 0; j < width; ++j) row.finish(result[j], x + j, c);
        }
      }
    }
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
      float* to = packed + static_cast<std::ptrdiff_t>(channels) * c + static_cast<std::ptrdiff_t>(k) * width;
      for (int i = 0; i < 6; ++i) {
        for (int j = 0; j < 6; ++j) {
          double sums[panel] = {};
          for (int y = 0; y < 3; ++y) {
            for (int x = 0; x < 3; ++x) {
              const double factor = g[i][y] * g[j][x];
              if (factor == 0) continue;
              for (int o = 0; o < width; ++o)
                sums[o] += factor * static_cast<double>(weights[(y * 3 + x) * matrix + at + o]);
            }
          }
          for (int o = 0; o < width; ++o) to[(6 * i + j) * matrix + o] = static_cast<float>(sums[o]);
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
  const std::ptrdiff_t matrix = static_cast<std::ptrdiff_t>(channels) * outputs, all = 36 * matrix;
  pack_winograd(weights, channels, outputs, packed + (all + 1) / 2);
  const float* from = packed + (all + 1) / 2;
  Bf16* to = reinterpret_cast<Bf16*>(packed);
  for (int p = 0; p < 36; ++p, from += matrix, to += matrix) {
    for (int c = 0; c < outputs; c += panel) {
      const int width = outputs - c < panel ? outputs - c : panel;
      const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(channels) * c;
      for (int k = 0; k < channels; k += 2) {
        for (int o = 0; o < width; ++o) {
          for (int half = 0; half < 2; ++half) {
            to[start + static_cast<std::ptrdiff_t>(k) * width + 2 * o + half] =
                rounded(from[start + static_cast<std::ptrdiff_t>(k + half) * width + o]);
          }
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
