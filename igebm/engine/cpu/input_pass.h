#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "igebm/engine/autotuner.h"
#include "igebm/engine/cpu/worker.h"

namespace igebm::engine::cpu {

/// By Algorithm.
std::string_view name(Algorithm algorithm);

/// Inputs of the pass, `count` of them one after another.
struct Inputs {
  const float* x = nullptr;
  Labels labels;
  std::int64_t count = 0;
};

/// Energies and input gradients by one plan: the algorithms that were chosen by measuring, the weights packed for them,
/// and a worker for each thread. For one caller at a time: `run` uses `threads` threads itself.
class InputPass {
 public:
  /// ways: what is tried for each convolution that Winograd's algorithm can do; others have no choice. key: names the
  /// network and the precision for the autotuner, which must outlive the pass.
  InputPass(Plan plan, const Kernels& kernels, std::vector<Algorithm> ways, std::string key, Autotuner& autotuner);

  const Plan& plan() const { return plan_; }
  const Kernels& kernels() const { return kernels_; }
  const Weights& weights() const { return weights_; }
  const Choices& choices() const { return choices_; }
  bool measured() const { return choices_.samples > 0; }
  /// Seconds an input when it was measured, all threads together.
  double seconds() const { return seconds_; }

  /// The weights have changed: they are packed when next needed.
  void refresh() { packed_ = false; }
  /// Weights packed, and algorithms chosen if they are not.
  void prepare(const nn::Tensors& tensors, const Inputs& in, int threads);
  /// After prepare. gradient: null for energies alone.
  void run(const Inputs& in, int threads, float* energies, float* gradient);
  /// After prepare: one worker, told of every step.
  void run_timed(const Inputs& in, float* energies, float* gradient,
                 const std::function<void(const Step&, double)>& timed);

  /// What was chosen; nothing before that.
  Tuned tuned() const;
  /// Takes what `tuned` gave. False, with nothing taken, where it is of another network or version.
  bool take(const Tuned& tuned);

 private:
  std::vector<std::shared_ptr<float[]>> packed(const Algorithms& algorithms, const nn::Tensors& tensors) const;
  void make_workers(int threads, int samples);
  void measure(const nn::Tensors& tensors, const Inputs& in, int threads);
  /// The fastest way for each convolution.
  void measure_algorithms(const nn::Tensors& tensors, const Inputs& in, int samples, Choices& choices);
  /// Seconds an input.
  double measure_size(const Inputs& in, int threads, const Choices& tried);

  Plan plan_;
  const Kernels& kernels_;
  std::vector<Algorithm> ways_;
  std::string key_;
  Autotuner& autotuner_;
  Weights weights_;
  Choices choices_;
  double seconds_ = 0;
  bool packed_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace igebm::engine::cpu
