#pragma once

#include <cstddef>
#include <cstdint>

/// The CPU engine's inner loops, over float32 pictures of a few samples. Plain pointers and no library, so that the
/// same source is compiled for several instruction sets (kernels.inl) and the best one is taken when the program runs.
///
/// Pictures are stored channels-last, with the channels padded to a multiple of 16 by zeros, and with a border of zeros
/// where a convolution reads beyond the edge. All pointers are aligned to 64 bytes.
namespace igebm::engine::cpu {

constexpr int lane_block = 16;

/// Channels with what pads them. (static: kernels.inl says why)
static constexpr int padded(std::int64_t channels) {
  return static_cast<int>((channels + lane_block - 1) / lane_block * lane_block);
}

/// A block of pictures: channel c of pixel (y, x) of sample n is element n * sample + y * row + x * pixel + c. Strides
/// of zero repeat a value. data == nullptr: none. bf16: the elements behind `data` are bfloat16 numbers, for kernels
/// with `tiles` alone, and not for store or as `direct`'s input.
struct View {
  float* data = nullptr;
  std::ptrdiff_t sample = 0, row = 0, pixel = 0;
  bool bf16 = false;
};

/// The view from an element on. (static: kernels.inl says why)
static constexpr View moved(View v, std::ptrdiff_t elements) {
  v.data += v.bf16 ? elements / 2 : elements;  // always an even number of them: lanes come in blocks
  return v;
}

struct Extent {
  int samples = 0, height = 0, width = 0, lanes = 0;
};

enum class Activation { none, leaky_relu, silu };

/// What becomes of a result r before it is stored:
///   r = ((r + bias) * (1 + gain) + add) * multiply + bent[0] * bent[1] * bent[2];
///   out = r;  activated = f(r);  derivative = f'(r);  bend = f''(r) / f'(r)^2
/// Whatever is not given is left out. multiply_slope >= 0: `multiply` holds a leaky ReLU's values of that slope, and
/// what r is multiplied by is its derivative, 1 where they are positive. bent: where g = G f'(r) and a = f(r), the
/// derivative of g along a tangent is G' f'(r) + g a' bend, a' that of a; derivatives stored beside a bend are not 0.
/// bias and gain are a vector of lanes for each
/// sample (stride vector_sample) or pixel of a row (stride vector_pixel).
struct Epilogue {
  const float* bias = nullptr;
  const float* gain = nullptr;
  std::ptrdiff_t bias_sample = 0, bias_pixel = 0, gain_sample = 0, gain_pixel = 0;
  View add, multiply, out, activated, derivative, bend;
  View bent[3];
  Activation activation = Activation::none;
  float slope = 0;
  float multiply_slope = -1;
};

/// out(n, y, x) = sum over taps t and channels c of in[n, y, x at offsets[t] + c] * weight(t, c): a convolution of any
/// kernel and stride, by in's strides and the offsets.
struct DirectConvolution {
  View in;
  int taps = 0, channels = 0;
  const std::ptrdiff_t* offsets = nullptr;
  const float* weights = nullptr;  ///< from pack_direct
  int step = 1;                    ///< pixels that in's strides go on by
  float* work = nullptr;  ///< for weight_gradient of pictures in bfloat16: weight_gradient_work(...) floats, or none
};

/// Pixels in whole steps of matrix tiles. (static: kernels.inl says why)
static constexpr int rounded_pixels(int pixels) { return (pixels + 31) / 32 * 32; }

/// pixels: of a run through the picture of results, the border's between rows along with them; span: from the first tap
/// to the last, in pixels of the run.
constexpr std::size_t weight_gradient_work(int pixels, int span, int channels, int lanes) {
  const auto all = static_cast<std::size_t>(rounded_pixels(pixels)),
             read = static_cast<std::size_t>(rounded_pixels(rounded_pixels(pixels) + span) + 32);
  return (read * static_cast<std::size_t>(channels) + all * static_cast<std::size_t>(lanes)) / 2;
}

/// A 3 x 3 convolution of stride 1 with a border of 1, by Winograd's F(4x4, 3x3) (Lavin & Gray 2016): 36 products of
/// matrices for each block of tiles of 4 x 4 results. in must be readable one pixel around whole tiles.
struct WinogradConvolution {
  View in;
  int channels = 0;
  const float* weights = nullptr;  ///< from pack_winograd
  float* work = nullptr;           ///< winograd_work(channels, lanes) floats
};

/// Tiles of a block: enough for weights of 256 channels to be worth their way from the last cache, few enough for the
/// rest to stay in the second-level one. A block may have half as many more.
static constexpr int winograd_tiles = 56;

constexpr std::size_t winograd_work(int channels, int lanes) {
  const auto most = static_cast<std::size_t>(winograd_tiles) * 3 / 2, c = static_cast<std::size_t>(channels),
             o = static_cast<std::size_t>(lanes);
  return 12 * (most + 32) * (c + 2) + 12 * (32 * 32 + 16) + 16 * most * o;
}

/// out(i) = sum over places j of softmax_j(scale * queries(i) . keys(j)) * values(j), each sample by itself (scaled
/// dot-product attention, Vaswani et al. 2017). The extent's pixels are the queries', its lanes the values'.
struct Attention {
  View queries, keys, values;
  int height = 0, width = 0;  ///< of keys and values
  int depth = 0;              ///< lanes of queries and keys
  float scale = 1;
  float* work = nullptr;  ///< attention_work(...) floats; along a tangent twice as many
  /// For attention_gradient: dE/d(out), and where dE/d(queries, keys, values) go.
  View gradient, to_queries, to_keys, to_values;
  /// For the derivatives along a tangent: those of what has these names.
  View queries_dot, keys_dot, values_dot, gradient_dot;
};

/// Queries that are taken together: as many as let their weights stay in the second-level cache.
static constexpr int attention_block(int queries, int keys) {
  const int most = 14336 / padded(keys) / 14 * 14;
  const int block = most < 14 ? 14 : most > 112 ? 112 : most;
  return block < queries ? block : queries;
}

constexpr std::size_t attention_work(int queries, int keys, int depth, int lanes) {
  const auto q = static_cast<std::size_t>(queries), k = static_cast<std::size_t>(padded(keys)),
             width = static_cast<std::size_t>(depth + lanes);
  return k * width + k * static_cast<std::size_t>(depth) + q * width +
         2 * static_cast<std::size_t>(attention_block(queries, keys)) * (k + lane_block);
}

/// Of each sample a class, or `count` numbers; neither where samples have no labels.
struct Labels {
  const std::int64_t* classes = nullptr;
  const float* numbers = nullptr;
  int count = 0;

  /// Those from sample n on.
  Labels from(std::int64_t n) const {
    return {classes == nullptr ? nullptr : classes + n, numbers == nullptr ? nullptr : numbers + n * count, count};
  }
};

struct GroupNorm {
  View in;
  int groups = 0;
  const int* group = nullptr;  ///< of each lane; -1 for padding
  const float *weight = nullptr, *bias = nullptr;
  int elements = 0;  ///< of a group: channels * height * width
  float* mean = nullptr;
  float* scale = nullptr;  ///< (samples, lanes) each: mean and 1 / standard deviation, kept for the gradient
  /// For group_norm_gradient: what coefficients[n] dE/d(weight) and dE/d(bias) are added to; null: nothing.
  const float* coefficients = nullptr;
  float *weight_sums = nullptr, *bias_sums = nullptr;
  /// For the derivatives along a tangent: in's, and of each sample and lane the means over the group of that, and of
  /// that times the normalised in.
  View dot;
  float *mean_dot = nullptr, *product = nullptr;
};

struct Kernels {
  const char* name;
  int panel;  ///< outputs that are computed together

  /// weights (taps, channels, outputs), outputs a multiple of 16 -> as the loops read them, of the same size.
  void (*pack_direct)(const float* weights, int taps, int channels, int outputs, float* packed);
  /// weights (3, 3, channels, outputs) -> 36 * channels * outputs floats.
  void (*pack_winograd)(const float* weights, int channels, int outputs, float* packed);

  void (*direct)(const DirectConvolution&, const Extent&, const Epilogue&);
  /// sums (taps, channels, lanes) += coefficients[n] * sum over pixels of in(n, y, x at offsets[t] + c) * gradient(n,
  /// y, x): the gradient of a convolution's weights. by_pixel: coefficients[x] instead, of a row of features.
  void (*weight_gradient)(const DirectConvolution&, const View& gradient, const Extent&, const float* coefficients,
                          bool by_pixel, float* sums);
  /// sums(row) += coefficients[n] * sum over pixels of in (times factor, if given): in the row of n's class, or in as
  /// many as n has numbers, times each; without labels in one.
  void (*lane_sums)(const View& in, const View& factor, const Extent&, const float* coefficients, const Labels&,
                    float* sums);
  /// For at most 4 outputs, weights (outputs, taps, channels) as they are, channels a multiple of 16.
  void (*direct_few)(const DirectConvolution&, int outputs, const Extent&, const Epilogue&);
  void (*winograd)(const WinogradConvolution&, const Extent&, const Epilogue&);
  /// The same with both factors of the products rounded to bfloat16, sums in float32; null where the processor cannot.
  void (*pack_winograd_bf16)(const float* weights, int channels, int outputs, float* packed);
  void (*winograd_bf16)(const WinogradConvolution&, const Extent&, const Epilogue&);
  /// A direct convolution of a picture in bfloat16, channels a multiple of 32, by the processor's matrix tiles (AMX):
  /// factors in bfloat16, sums in float32. A row must be a whole number of in's pixels further than the last. Reads up
  /// to tile_pixels pixels beyond the picture's end, for results that are dropped. Null where there are no tiles.
  void (*pack_tiles)(const float* weights, int taps, int channels, int outputs, float* packed);
  void (*tiles)(const DirectConvolution&, const Extent&, const Epilogue&);

  /// r(n, y, x) = scale * in(n, y / zoom, x / zoom).
  void (*pointwise)(const View& in, float scale, int zoom, const Extent&, const Epilogue&);
  /// r(n, y, x) = scale * sum of in over the zoom_y x zoom_x pixels at (y zoom_y, x zoom_x).
  void (*pool)(const View& in, float scale, int zoom_y, int zoom_x, const Extent&, const Epilogue&);
  void (*group_norm)(const GroupNorm&, const Extent&, const Epilogue&);
  /// r = dE/dx, from gradient = dE/d(normalised) and mean and scale of the forward pass.
  void (*group_norm_gradient)(const GroupNorm&, const View& gradient, const Extent&, const Epilogue&);
  /// r = the derivative of the normalised, along `dot`; fills mean_dot and product.
  void (*group_norm_tangent)(const GroupNorm&, const Extent&, const Epilogue&);
  /// r = the derivative of group_norm_gradient's result where gradient's is `gradient_dot`, and sums that of its sums.
  void (*group_norm_gradient_tangent)(const GroupNorm&, const View& gradient, const View& gradient_dot, const Extent&,
                                      const Epilogue&);
  /// Null where there are tiles, as is Winograd's algorithm: those of `kernels` serve.
  void (*attention)(const Attention&, const Extent&, const Epilogue&);
  void (*attention_gradient)(const Attention&, const Extent&);
  /// The derivatives of their results.
  void (*attention_tangent)(const Attention&, const Extent&, const Epilogue&);
  void (*attention_gradient_tangent)(const Attention&, const Extent&);
  /// out[n][0] = scale * sum of a * b over everything but samples.
  void (*inner)(const View& a, const View& b, float scale, const Extent&, const View& out);

  /// (samples, channels, height * zoom, width * zoom) -> channels-last pixels of channels * zoom^2 channels,
  /// pixel-unshuffled, as x * scale + shift; and the gradient back. In bfloat16 a value is stored as two numbers whose
  /// sum has 16 bits: what rounding takes off the first channels is in as many after them.
  void (*load)(const float* x, int channels, int zoom, float scale, float shift, const Extent&, const View& out);
  void (*store)(const View& gradient, int channels, int zoom, float scale, const Extent&, float* x);
};

/// Weights of `tiles`, in floats.
constexpr std::size_t tile_weights(int taps, int channels, int outputs) {
  return static_cast<std::size_t>(taps) * static_cast<std::size_t>(channels) *
         static_cast<std::size_t>((outputs + 31) / 32 * 16);
}

/// Channels that `tiles` takes at once.
constexpr int tile_depth = 32;

/// Pixels that `tiles` takes at once.
constexpr int tile_pixels = 48;

/// For this processor, in float32; `limit` ("amx", "v4-bf16", "v4", "v3", "v2", "" for the best) is for tests and
/// comparisons, and a build without levels of x86-64 has one set alone.
const Kernels& kernels(const char* limit = "");
/// Those with matrix tiles; null where the processor or `limit` has none.
const Kernels* tile_kernels(const char* limit = "");

}  // namespace igebm::engine::cpu
