#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "igebm/engine/cpu/kernels.h"

namespace igebm::engine::cpu {
namespace {

struct alignas(64) Lanes {
  float values[lane_block];
};

/// Zeros, aligned as kernels want them.
struct Floats {
  std::vector<Lanes> blocks;
  explicit Floats(std::size_t floats) : blocks((floats + lane_block - 1) / lane_block, Lanes{}) {}
  float* data() { return blocks[0].values; }
  float& operator[](std::ptrdiff_t i) {
    return blocks[static_cast<std::size_t>(i / lane_block)].values[i % lane_block];
  }
};

/// A block of pictures with the border that Winograd's tiles read.
struct Pictures {
  std::ptrdiff_t pixel, row, sample;
  Floats values;

  Pictures(const Extent& e, int lanes)
      : pixel(lanes),
        row(std::ptrdiff_t{1} * ((e.width + 3) / 4 * 4 + 2) * lanes),
        sample(((e.height + 3) / 4 * 4 + 2) * row),
        values(static_cast<std::size_t>(e.samples * sample)) {}
  float& at(int n, int y, int x, int c) { return values[n * sample + (y + 1) * row + (x + 1) * pixel + c]; }
  View view() { return {values.data() + row + pixel, sample, row, pixel}; }
};

double convolved(Pictures& in, Floats& weights, int channels, int outputs, int n, int y, int x, int o) {
  double sum = 0;
  for (int t = 0; t < 9; ++t) {
    for (int c = 0; c < channels; ++c) {
      sum += static_cast<double>(in.at(n, y + t / 3 - 1, x + t % 3 - 1, c)) *
             static_cast<double>(weights[(std::ptrdiff_t{1} * t * channels + c) * outputs + o]);
    }
  }
  return sum;
}

void check(const Kernels& k, const Extent& e, int channels) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Pictures in(e, channels), out(e, e.lanes);
  const int size = channels * e.lanes;
  Floats weights(static_cast<std::size_t>(9 * size)), packed(static_cast<std::size_t>(36 * size)),
      work(winograd_work(channels, e.lanes));
  for (int i = 0; i < 9 * size; ++i) weights[i] = normal(random);
  for (int n = 0; n < e.samples; ++n) {
    for (int i = 0; i < e.height * e.width * channels; ++i)
      in.at(n, i / channels / e.width, i / channels % e.width, i % channels) = normal(random);
  }
  k.pack_winograd(weights.data(), channels, e.lanes, packed.data());
  Epilogue epilogue;
  epilogue.out = out.view();
  k.winograd({in.view(), channels, packed.data(), work.data()}, e, epilogue);
  double error = 0, square = 0;
  for (int n = 0; n < e.samples; ++n) {
    for (int y = -1; y <= e.height; ++y) {
      for (int x = -1; x <= e.width; ++x) {
        const bool inside = y >= 0 && x >= 0 && y < e.height && x < e.width;
        for (int o = 0; o < e.lanes; ++o) {
          const double want = inside ? convolved(in, weights, channels, e.lanes, n, y, x, o) : 0,
                       off = static_cast<double>(out.at(n, y, x, o)) - want;
          square += want * want, error += off * off;
        }
      }
    }
  }
  EXPECT_LT(std::sqrt(error / square), 5e-6)
      << k.name << ": " << e.height << " x " << e.width << ", " << channels << " -> " << e.lanes;
}

// Tiles at the end of rows and columns have 1 to 4 results, each with its own transforms; pictures of many tiles take
// several parts and blocks. The empty level is the best: builds without levels have one alone.
TEST(Winograd, PicturesOfAnySizeAreConvolvedAndNothingBesideThemIsWritten) {
  for (const char* level : {"v4", "v3", "v2", ""}) {
    const Kernels& k = kernels(level);
    if (*level != 0 && std::string(k.name) != level) continue;  // not on this processor
    for (int height = 1; height <= 9; ++height) {
      for (int width = 1; width <= 9; ++width) check(k, {3, height, width, 16}, 16);
    }
    check(k, {7, 14, 14, 48}, 32);
    check(k, {9, 7, 13, 32}, 48);
    check(k, {2, 28, 30, 16}, 16);
  }
}

}  // namespace
}  // namespace igebm::engine::cpu
