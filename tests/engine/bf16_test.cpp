#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "igebm/engine/cpu/kernels.h"
#include "igebm/engine/engine.h"
#include "tests/engine/networks.h"

/// Convolutions in bfloat16: by Winograd's algorithm, and by matrix tiles over pictures stored so.
namespace igebm::engine {
namespace {

// bfloat16 has 8 bits, and Winograd's transforms enlarge their rounding: gradients to some percent (of random weights a
// tenth), and unbiased.
TEST(Bfloat16, Bfloat16IsRoundedFloat) {
  if (cpu::kernels().winograd_bf16 == nullptr) GTEST_SKIP() << "this processor has no bfloat16 instructions";
  std::mt19937 random(8);
  for (const Case& c : cases()) {
    const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
    const auto exact = prepare(c.graph, in_double(weights), {.engine = Kind::reference});
    // Of what serves the parameters alone, and without tiles both, the algorithm has no choice: sub-batches at random.
    auto choices = nlohmann::json::parse(random_choices(c.graph, random, "", Precision::bf16));
    choices["chosen"] = cpu::tile_kernels() != nullptr ? "tiles" : "f32";
    const auto rounded = prepare(
        c.graph, weights, {.choices = choices.dump(), .precision = Precision::bf16, .autotuner = kept_choices()});
    const at::Tensor x = inputs(c.graph, 24, at::kFloat), labels = random_labels(c.graph, 24);
    const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
    const auto got = rounded->given(labels)->energy_and_gradient(x);
    // Without Winograd's transforms rounding is enlarged less.
    EXPECT_LT(relative(got.gradient, want.gradient), cpu::tile_kernels() != nullptr ? 0.12 : 0.2) << c.name;
    const at::Tensor g = got.gradient.to(at::kDouble);
    EXPECT_NEAR(((g * want.gradient).sum() / want.gradient.square().sum()).item<double>(), 1, 0.02) << c.name;
    // Gradients of parameters stay in float32.
    nn::Tensors a, b;
    const at::Tensor ones = at::ones({24});
    prepare(c.graph, weights,
            {.choices = random_choices(c.graph, random, "", Precision::f32), .precision = Precision::f32})
        ->parameter_gradient(x, labels, ones, {}, a);
    rounded->parameter_gradient(x, labels, ones, {}, b);
    double difference = 0, size = 0;
    for (const auto& [name, t] : a) {
      difference += (t - b.at(name)).square().sum().item<double>();
      size += t.square().sum().item<double>();
    }
    EXPECT_LT(difference, 1e-8 * size) << c.name;
    const auto again = prepare(c.graph, weights, {.choices = rounded->choices(), .precision = Precision::bf16});
    EXPECT_TRUE(at::equal(again->given(labels)->energy_and_gradient(x).gradient, got.gradient)) << c.name;
  }
}

// Rounded to 8 bits, in networks of every shape: an element read from the wrong place would be wrong by its whole size.
TEST(Bfloat16, RandomNetworksByTiles) {
  if (cpu::tile_kernels() == nullptr) GTEST_SKIP() << "this processor has no matrix tiles";
  int by_tiles = 0;
  double sum = 0;
  for (unsigned seed = 0; seed < 120; ++seed) {
    const Named n = random_network(seed, 96);
    const nn::EffectiveWeights weights = random_weights(n.graph, at::kFloat);
    const auto exact = prepare(n.graph, in_double(weights), {.engine = Kind::reference});
    std::string chunks;
    for (unsigned height = 2; height <= 14; ++height)
      chunks += fmt::format("{}\"{}\": {}", height == 2 ? "" : ", ", height, 1 + (seed + height) % 4);
    const std::string choices = fmt::format(
        R"({{"kernels": "{}", "precision": "bf16", "chosen": "tiles", "tiles": {{"samples": {}, "chunks": {{{}}}, "algorithms": {{}}}}}})",
        cpu::kernels().name, 1 + seed % 5, chunks);
    const auto fast = prepare(n.graph, weights, {.choices = choices, .precision = Precision::bf16});
    const std::int64_t count = 1 + seed % 9;
    const at::Tensor x = inputs(n.graph, count, at::kFloat), labels = random_labels(n.graph, count);
    const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
    const auto got = fast->given(labels)->energy_and_gradient(x);
    if (fast->description().find("tiles") == std::string::npos) continue;
    ++by_tiles;
    const double error =
        (got.gradient - want.gradient).norm().item<double>() / (want.gradient.norm().item<double>() + 1e-6);
    EXPECT_LT(error, 0.25) << n.name;
    sum += error;
  }
  EXPECT_GT(by_tiles, 40);
  EXPECT_LT(sum / by_tiles, 0.03);
}

// A kernel of four pixels reads one more beyond an odd side than the border between rows has.
TEST(Bfloat16, PicturesOfOddSidesAreHalvedByTiles) {
  if (cpu::tile_kernels() == nullptr) GTEST_SKIP() << "this processor has no matrix tiles";
  nn::StridedOptions options;
  options.activation = nn::Activation::silu;
  options.stem = 32;
  options.channels = {32, 64, 64};
  options.label_planes = false;
  for (const auto& [height, width] : {std::pair{28, 28}, std::pair{10, 9}, std::pair{6, 25}}) {
    const nn::Graph graph = nn::strided(options, {1, height, width}, {.classes = 3});
    const nn::EffectiveWeights weights = random_weights(graph, at::kFloat);
    const auto exact = prepare(graph, in_double(weights), {.engine = Kind::reference});
    const auto fast = prepare(graph, weights, {.precision = Precision::bf16});
    const at::Tensor x = inputs(graph, 7, at::kFloat), labels = random_labels(graph, 7);
    const auto want = exact->given(labels)->energy_and_gradient(x.to(at::kDouble));
    const auto got = fast->given(labels)->energy_and_gradient(x);
    EXPECT_NE(fast->description().find("tiles"), std::string::npos) << fast->description();
    EXPECT_LT(relative(got.gradient, want.gradient), 0.03) << height << " x " << width;
  }
}

TEST(Bfloat16, AutoIsTheFasterByMeasuringAndKeepsIt) {
  if (cpu::tile_kernels() == nullptr) GTEST_SKIP() << "this processor has no matrix tiles";
  const Case c = cases()[4];
  const nn::EffectiveWeights weights = random_weights(c.graph, at::kFloat);
  const at::Tensor x = inputs(c.graph, 24, at::kFloat), labels = random_labels(c.graph, 24);
  const auto chosen = prepare(c.graph, weights, {.precision = Precision::automatic, .autotuner = kept_choices()});
  const at::Tensor gradient = chosen->given(labels)->energy_and_gradient(x).gradient;
  const auto json = nlohmann::json::parse(chosen->choices());
  for (const std::string name : {"tiles", "f32"}) {
    auto other = json;
    other["chosen"] = name;
    const auto again = prepare(c.graph, weights, {.choices = other.dump(), .precision = Precision::automatic});
    const at::Tensor same = again->given(labels)->energy_and_gradient(x).gradient;
    EXPECT_EQ(again->description().find("tiles") != std::string::npos, name == "tiles");
    EXPECT_EQ(at::equal(same, gradient), json.at("chosen") == name) << name;
  }
  // What an earlier version kept, before there were tiles: its algorithms, and so its samples, stay.
  auto before = json;
  before.erase("tiles");
  before.erase("chosen");
  const auto old = prepare(c.graph, weights, {.choices = before.dump(), .precision = Precision::automatic});
  old->given(labels)->energy_and_gradient(x);
  EXPECT_EQ(old->description().find("tiles"), std::string::npos);
}

/// A picture in bfloat16 within a tight border, of small whole numbers: their sums are exact in any order.
struct Picture {
  cpu::Extent extent;
  std::vector<float> values;           // (samples, height + 2, width + 1, lanes) and a pixel
  std::vector<std::uint16_t> storage;  // the same, aligned
  std::uint16_t* at = nullptr;
  std::ptrdiff_t row, sample;

  Picture(cpu::Extent e, std::mt19937* random) : extent(e) {
    row = std::ptrdiff_t{1} * (e.width + 1) * e.lanes;
    sample = (e.height + 2) * row + e.lanes;
    values.assign(static_cast<std::size_t>(e.samples * sample + cpu::tile_pixels * e.lanes), 0.0F);
    for (int n = 0; random != nullptr && n < e.samples; ++n) {
      for (int y = 0; y < e.height; ++y) {
        for (int x = 0; x < e.width; ++x) {
          for (int c = 0; c < e.lanes; ++c)
            values[index(n, y, x, c)] = static_cast<float>(std::uniform_int_distribution<int>(-3, 3)(*random));
        }
      }
    }
    storage.resize(values.size() + 32);
    at = storage.data();
    while (reinterpret_cast<std::uintptr_t>(at) % 64 != 0) ++at;
    for (std::size_t i = 0; i < values.size(); ++i)
      at[i] = static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, values[i]) >> 16);
  }
  std::size_t index(int n, int y, int x, int c) const {
    return static_cast<std::size_t>(n * sample + (y + 1) * row + (x + 1) * extent.lanes + c);
  }
  float stored(int n, int y, int x, int c) const {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(at[index(n, y, x, c)]) << 16);
  }
  cpu::View view() { return {reinterpret_cast<float*>(at + row + extent.lanes), sample, row, extent.lanes, true}; }
};

struct alignas(64) Line {
  float values[16];
};

float rounded(float v) {  // to bfloat16, to even between two
  const auto bits = __builtin_bit_cast(std::uint32_t, v);
  return __builtin_bit_cast(float, (bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U);
}

TEST(Tiles, ConvolutionsOfWholeNumbersAreExact) {
  const cpu::Kernels* tiles = cpu::tile_kernels();
  if (tiles == nullptr) GTEST_SKIP() << "this processor has no matrix tiles";
  std::mt19937 random(1);
  const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int trial = 0; trial < 200; ++trial) {
    const int channels = 32 * between(1, 3), outputs = 16 * between(1, 5), width = between(1, 40);
    const cpu::Extent extent{between(1, 5), between(width == 1 ? 2 : 1, 12), width, outputs};
    Picture in({extent.samples, extent.height, extent.width, channels}, &random), skip(extent, &random),
        signs(extent, &random), out(extent, nullptr), activated(extent, nullptr);
    const int k = between(0, 1) == 0 ? 3 : 1, taps = k * k;
    std::vector<std::ptrdiff_t> offsets;
    for (int t = 0; t < taps; ++t) offsets.push_back((t / k - k / 2) * in.row + (t % k - k / 2) * channels);
    std::vector<float> weights(static_cast<std::size_t>(taps * channels * outputs)), bias(80);
    for (float& w : weights) w = static_cast<float>(between(0, 9) == 0 ? between(-1, 1) : 0);
    std::vector<Line> packed(cpu::tile_weights(taps, channels, outputs) / 16), aligned(5);
    for (int c = 0; c < outputs; ++c)
      bias[static_cast<std::size_t>(c)] = aligned[static_cast<std::size_t>(c / 16)].values[c % 16] =
          static_cast<float>(between(-2, 2));
    tiles->pack_tiles(weights.data(), taps, channels, outputs, packed[0].values);
    cpu::Epilogue e;
    e.bias = aligned[0].values;
    const bool adds = between(0, 1) == 0, multiplies = between(0, 1) == 0;
    if (adds) e.add = skip.view();
    if (multiplies) e.multiply = signs.view(), e.multiply_slope = 0.5F;
    e.out = out.view();
    e.activated = activated.view();
    e.activation = cpu::Activation::leaky_relu;
    e.slope = 0.25F;
    // A sample that is not finite leaves the others alone.
    const bool broken = extent.samples > 1 && between(0, 1) == 0;
    if (broken) in.at[in.index(0, 0, 0, 0)] = 0x7FC0;
    tiles->tiles({in.view(), taps, channels, offsets.data(), packed[0].values}, extent, e);
    for (int n = broken ? 1 : 0; n < extent.samples; ++n) {
      for (int y = -1; y <= extent.height; ++y) {
        for (int x = -1; x < extent.width; ++x) {
          for (int c = 0; c < outputs; ++c) {
            const bool border = y < 0 || x < 0 || y == extent.height;
            float want = bias[static_cast<std::size_t>(c)];
            for (int t = 0; !border && t < taps; ++t) {
              for (int i = 0; i < channels; ++i)
                want += in.values[in.index(n, y, x, 0) + static_cast<std::size_t>(i)  // the pixel itself
                                  + static_cast<std::size_t>(offsets[static_cast<std::size_t>(t)])] *
                        weights[static_cast<std::size_t>((t * channels + i) * outputs + c)];
            }
            if (adds) want += skip.values[skip.index(n, y, x, c)];
            if (multiplies) want *= signs.values[signs.index(n, y, x, c)] > 0 ? 1.0F : 0.5F;
            if (border) want = 0;
            const float exact = rounded(want), after = rounded(want * (want > 0 ? 1.0F : 0.25F));
            ASSERT_EQ(out.stored(n, y, x, c), exact) << trial << ": " << n << " " << y << " " << x << " " << c;
            ASSERT_EQ(activated.stored(n, y, x, c), after) << trial << ": " << n << " " << y << " " << x << " " << c;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace igebm::engine
