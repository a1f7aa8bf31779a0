#pragma once

#include <functional>

#include "igebm/base/observer.h"
#include "igebm/engine/engine.h"
#include "igebm/nn/network.h"
#include "igebm/sampling/sampler.h"
#include "igebm/training/replay_buffer.h"

namespace igebm::training {

/// What an objective sees of a training step.
struct Step {
  const nn::Graph& graph;
  const nn::Tensors& weights;  ///< effective, differentiable in the parameters
  engine::Prepared& frozen;    ///< the same weights, for sampling
  at::Tensor data;             ///< (N, ...) float in the data's range
  at::Tensor labels;           ///< (N) int64 or undefined
  std::uint64_t seed;          ///< of this attempt
  std::int64_t step;           ///< since the training's start
};

struct Loss {
  at::Tensor value;  ///< a scalar, differentiable in step.weights unless its gradient stands in `gradients`
  /// d(value)/d(effective weight) by name, where the engine gave it.
  nn::Tensors gradients;
  Metrics metrics;
  std::int64_t non_finite = 0;  ///< chains that left the finite numbers
};

/// A term of the loss. A new one is a subclass here and a section in training/recipe.h.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual Loss loss(const Step& step) = 0;
  virtual nn::Tensors state() const { return {}; }  ///< what a resume needs
  virtual void load(const nn::Tensors& /*state*/) {}
};

/// Contrastive divergence with a replay buffer (Du & Mordatch 2019, algorithm 1):
///   L = mean[E(x+) - E(x-)] + energy_l2 mean[E(x+)^2 + E(x-)^2],
/// x- = `steps` Langevin steps from the buffer; chains that start anew take `flow` first, if it has steps.
struct ContrastiveDivergenceOptions {
  double weight = 1;
  double energy_l2 = 1;
  std::int64_t steps = 60;
  sampling::LangevinOptions langevin;
  sampling::FlowOptions flow = {0, "euler"};
  sampling::StartOptions start;
  ReplayOptions replay;
};

class ContrastiveDivergence : public Objective {
 public:
  ContrastiveDivergence(const ContrastiveDivergenceOptions& options, const std::vector<std::int64_t>& shape);
  Loss loss(const Step& step) override;
  nn::Tensors state() const override { return buffer_.state(); }
  void load(const nn::Tensors& state) override { buffer_.load(state); }

 private:
  ContrastiveDivergenceOptions options_;
  ReplayBuffer buffer_;
};

/// The loss alone, for given positives and negatives.
at::Tensor contrastive_divergence(const at::Tensor& positive, const at::Tensor& negative, double energy_l2);

/// Energy matching's first phase (Balcerak et al. 2025):
///   L = mean |-dE/dx((1 - t) x0 + t x1) - c(t) (x1 - x0)|^2 over elements, c = 1,
/// x1 data, x0 standard normal noise paired to the data by minibatch optimal transport, t uniform in (0, time_end).
/// At t = 1 it asks for a slope through the data, at odds with an equilibrium there: beside contrastive divergence,
/// which shapes the energy around the data, stop before (the paper's second phase). Or let it vanish there, as
/// equilibrium matching does (Wang & Du 2025, truncated decay): c(t) = min(1, (1 - t) / (1 - equilibrium)) makes the
/// data minima of E, where descent and Langevin dynamics may stay as long as they like.
struct EnergyMatchingOptions {
  double weight = 1;
  double time_end = 1;     ///< in (0, 1]
  double equilibrium = 1;  ///< in [0, 1], where c begins to fall; 1: never
  bool transport = true;   ///< pair noise and data by optimal transport, else at random
};

/// The gradient of L in the parameters is, with r = dE/dx + c (x1 - x0) of N * D elements, 2 / (N D) times the
/// derivative of d E(x + s r) / d theta in s at 0. Where the fast engine knows the network and E is smooth it is taken
/// as the central difference over s = +-matching_step / rms(r): two gradients of plain energies instead of a gradient
/// of a gradient.
constexpr double matching_step = 0.004;

class EnergyMatching : public Objective {
 public:
  explicit EnergyMatching(const EnergyMatchingOptions& options) : options_(options) {}
  Loss loss(const Step& step) override;

 private:
  /// noise paired with the data already
  Loss by_difference(const Step& step, const at::Tensor& noise, const at::Tensor& time) const;

  EnergyMatchingOptions options_;
};

/// The loss alone. energy: (N, ...) -> (N), differentiable twice; time (N).
at::Tensor energy_matching(const std::function<at::Tensor(const at::Tensor&)>& energy, const at::Tensor& noise,
                           const at::Tensor& data, const at::Tensor& time, double equilibrium = 1);

}  // namespace igebm::training
