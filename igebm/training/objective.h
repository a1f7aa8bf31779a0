#pragma once

#include <exception>
#include <functional>

#include "igebm/base/observer.h"
#include "igebm/base/random.h"
#include "igebm/engine/engine.h"
#include "igebm/io/recipe.h"
#include "igebm/nn/network.h"

namespace igebm::training {

/// What a network computes.
enum class Network { energy, energy_at_noise_levels, classifier };
Network kind_of(const nn::Graph& graph);
/// In words, with the recipe's key that makes it one.
std::string describe_network(Network network);

/// A step that was asked to stop on its way.
struct Interrupted : std::exception {};

/// What an objective sees of a training step.
struct Step {
  const nn::Graph& graph;
  const nn::EffectiveWeights& weights;  ///< effective, differentiable in the parameters
  engine::Prepared& frozen;             ///< the same weights, for sampling
  at::Tensor data;                      ///< (N, ...) float in the data's range
  at::Tensor labels;                    ///< of the data, as the graph takes them beside a noise level, or undefined
  std::uint64_t seed;                   ///< of this attempt
  std::int64_t step;                    ///< since the training's start
  /// The random stream of the batch's first record; the others' follow, and no step shares one: how many records all
  /// steps before have taken.
  std::int64_t first_stream;
  std::int64_t first_chain;  ///< the same of chains that start anew: how many all steps with chains before have taken
  /// Whether to give the step up; empty: never.
  const std::function<bool()>& stop = never;

  /// To be called now and then in long work, as long as the objective's own state is what it was before the step but
  /// for what load() brings back. Throws Interrupted.
  void check() const;

  /// Standard normal numbers, one for each of `data`'s, float on the CPU.
  at::Tensor normals(Purpose purpose) const;

  static const std::function<bool()> never;
};

struct Loss {
  at::Tensor value;  ///< a scalar, differentiable in step.weights unless its gradient stands in `gradients`
  /// d(value)/d(effective weight) by name, where the engine gave it.
  nn::Tensors gradients;
  Metrics metrics;
  std::int64_t non_finite = 0;  ///< steps of chains that met energies or gradients that are not finite
  /// Times the loss that a network has that knows nothing (a flat energy, equal logits); 0: not known.
  double relative = 0;
};

/// A term of the loss. How to add one: training/terms.h.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual Loss loss(const Step& step) = 0;
  virtual nn::Tensors state() const { return {}; }  ///< what a resume needs
  virtual void load(const nn::Tensors& /*state*/) {}
};

}  // namespace igebm::training
