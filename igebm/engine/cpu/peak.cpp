#include "igebm/engine/cpu/peak.h"

#include <algorithm>
#include <vector>

#include "igebm/base/clock.h"
#include "igebm/engine/cpu/kernels.h"

namespace igebm::engine::cpu {
namespace {

constexpr int side = 14, taps = 9, border = side + 2;

struct alignas(64) Line {
  float values[lane_block];
};

/// Of `run` on pictures of zeros: (side + 2)^2 pixels in and out, weights for every tap.
template <class Run>
double rate(int lanes, const Run& run) {
  const std::size_t blocks = static_cast<std::size_t>(lanes) / lane_block;
  std::vector<Line> in((border * border + tile_pixels) * blocks), out(in.size()),
      weights(taps * blocks * static_cast<std::size_t>(lanes));
  const std::ptrdiff_t row = std::ptrdiff_t{1} * border * lanes;
  std::vector<std::ptrdiff_t> offsets;
  for (int t = 0; t < taps; ++t) offsets.push_back((t / 3) * row + (t % 3) * lanes);
  const DirectConvolution conv{{in[0].values, 0, row, lanes}, taps, lanes, offsets.data(), weights[0].values};
  Epilogue e;
  e.out = {out[0].values, 0, row, lanes};
  const Extent extent{1, side, side, lanes};
  double best = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    constexpr int runs = 20;
    const double start = now();
    for (int i = 0; i < runs; ++i) run(conv, extent, e);
    best = std::max(best, 2.0 * taps * lanes * lanes * side * side * runs / (now() - start));
  }
  return best;
}

template <class Rate>
double of_all(int threads, const Rate& one) {
  double sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sum)
  for (int t = 0; t < threads; ++t) sum += one();
  return sum;
}

}  // namespace

double convolution_peak(int threads, const char* limit) {
  return of_all(threads, [&] { return rate(32, kernels(limit).direct); });
}

double tile_peak(int threads) {
  const Kernels* able = tile_kernels();
  if (able == nullptr) return 0;
  return of_all(threads, [&] {
    return rate(64, [&](DirectConvolution conv, const Extent& extent, Epilogue e) {
      conv.in.bf16 = e.out.bf16 = true;
      able->tiles(conv, extent, e);
    });
  });
}

}  // namespace igebm::engine::cpu
