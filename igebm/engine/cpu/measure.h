#pragma once

#include <algorithm>
#include <utility>

namespace igebm::engine::cpu {

/// The least of a few runs' times, after one that warms up; long runs are repeated once. run() returns its seconds.
template <class Run>
double least_time(const Run& run) {
  double least = 1e30, spent = 0;
  for (int repeat = 0; repeat < 2 || (spent < 0.5 && (repeat < 4 || spent < 0.02)); ++repeat) {
    const double seconds = run();
    spent += seconds;
    if (repeat > 0) least = std::min(least, seconds);
  }
  return least;
}

/// Of 1, 2, 4, ..., most: the size that takes the least time a sample, and that time. A larger one must save 3 %; the
/// search ends where two in a row do not, or one is much worse: large sizes of large networks take long to try.
template <class Time>
std::pair<int, double> best_size(int most, const Time& seconds_a_sample) {
  int size = 1, vain = 0;
  double best = 1e30;
  for (int samples = 1; samples <= most && vain < 2; samples *= 2) {
    const double seconds = seconds_a_sample(samples);
    ++vain;
    if (seconds > 1.3 * best) break;
    if (seconds < 0.97 * best) best = seconds, size = samples, vain = 0;
  }
  return {size, best};
}

}  // namespace igebm::engine::cpu
