#include "igebm/engine/cpu/peak.h"

#include <algorithm>
#include <vector>

#include "igebm/base/clock.h"
#include "igebm/engine/cpu/kernels.h"

namespace igebm::engine::cpu {
namespace {

constexpr int side = 14, lanes = 32, taps = 9, border = side + 2;

double rate() {
  struct alignas(64) Line {
    float values[lane_block];
  };
  constexpr std::size_t block = sizeof(Line) / sizeof(float);
  std::vector<Line> in(border * border * lanes / block), out(in.size()), weights(taps * lanes * lanes / block);
  constexpr std::ptrdiff_t row = std::ptrdiff_t{1} * border * lanes;
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
    for (int i = 0; i < runs; ++i) kernels().direct(conv, extent, e);
    best = std::max(best, 2.0 * taps * lanes * lanes * side * side * runs / (now() - start));
  }
  return best;
}

}  // namespace

double convolution_peak(int threads) {
  double sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sum)
  for (int t = 0; t < threads; ++t) sum += rate();
  return sum;
}

}  // namespace igebm::engine::cpu
