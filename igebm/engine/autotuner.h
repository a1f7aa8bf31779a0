#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "igebm/engine/engine.h"

/// Choices that an engine makes by measuring: how they are found, kept, shared and written.
namespace igebm::engine {

/// How a pass through a network is carried out.
struct Tuned {
  int samples = 0;                 ///< of a sub-batch; 0: nothing has been chosen
  std::map<int, int> chunks = {};  ///< by a picture's height: so many samples go through the steps there together
  std::vector<std::pair<std::string, std::string>> algorithms = {};  ///< by the layers' names, in the network's order
  double seconds = 0;  ///< an input, when it was measured; 0: unknown. Not written

  explicit operator bool() const { return samples > 0; }
};

/// All that was chosen for a network: what Prepared::choices() writes and Options::choices takes.
struct NetworkChoices {
  std::string kernels;  ///< that it was measured for, as is the precision: others measure anew
  Precision precision = Precision::usual;
  Tuned f32, tiles;          ///< energies and gradients of x, with pictures in float32 or bfloat16
  int training_samples = 0;  ///< of a sub-batch of the parameters' gradient; 0: nothing has been chosen
  int tangent_samples = 0;   ///< the same by tangents
  std::string chosen = {};   ///< "f32" or "tiles"; empty where there is no choice
};

std::string to_json(const NetworkChoices& choices);
/// Throws std::exception where `text` is something else.
NetworkChoices network_choices(const std::string& text);

/// Measures once what several engines need, and keeps it as long as it lives: engines of one network that share it
/// compute alike, bit for bit. All functions may be called from several threads at once.
class Autotuner {
 public:
  /// What is kept under `key`, else what `measure` returns, which is kept. No lock is held while it measures: of
  /// threads that measure the same at once all return what the first of them found.
  Tuned choose(const std::string& key, const std::function<Tuned()>& measure);

 private:
  std::mutex mutex_;  // of the map: held for a look-up
  std::map<std::string, Tuned> kept_;
};

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

}  // namespace igebm::engine
