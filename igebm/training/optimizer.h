#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "igebm/io/recipe.h"
#include "igebm/nn/network.h"

namespace igebm::training {

enum class OptimizerKind {
  adam,  ///< of every parameter
  muon,  ///< of matrices, Adam of the rest (training/muon.h)
};
inline constexpr std::array optimizer_kind_names = {"adam", "muon"};
constexpr const auto& names_of(OptimizerKind) { return optimizer_kind_names; }

/// Of the parameters' gradient.
enum class Clip {
  none,
  norm,           ///< of the whole gradient, to clip_norm
  second_moment,  ///< IGEBM's: each element to +-(3 sqrt(v) + 0.1), v the bias-corrected second moment, which only what
                  ///< Adam moves has
};
inline constexpr std::array clip_names = {"none", "norm", "second-moment"};
constexpr const auto& names_of(Clip) { return clip_names; }

/// Of the learning rate over a phase.
enum class Schedule { constant, cosine };
inline constexpr std::array schedule_names = {"constant", "cosine"};
constexpr const auto& names_of(Schedule) { return schedule_names; }

/// Adam (Kingma & Ba 2015) and Muon (Jordan et al. 2024), with the schedules and gradient clips that energy-based
/// training needs.
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adam;
  double learning_rate = 3e-4;
  double beta1 = 0, beta2 = 0.999, epsilon = 1e-8;
  Clip clip = Clip::second_moment;
  double clip_norm = 1;     ///< for Clip::norm
  std::int64_t warmup = 0;  ///< steps of linear warm-up
  Schedule schedule = Schedule::constant;
  double final_share = 0.01;  ///< of the learning rate, that cosine ends at
  double momentum = 0.95;     ///< of Muon
  double factor = 2.5;        ///< of Muon's steps: their root mean square over a weight's elements is 0.2 factor rates
};

void describe(io::Fields& fields, OptimizerOptions& options);

/// The learning rate of step `step` of `total`, counted from 0.
double learning_rate(const OptimizerOptions& options, std::int64_t step, std::int64_t total);

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// One update in place; gradients in the parameters' order. Returns the gradient's norm before clipping; if that
  /// is not finite, nothing is changed.
  virtual double update(const OptimizerOptions& options, double rate, nn::Tensors& parameters,
                        const std::vector<at::Tensor>& gradients) = 0;

  virtual nn::Tensors state() const = 0;            ///< what a resume needs
  virtual void load(const nn::Tensors& state) = 0;  ///< throws UserError where it is another network's or kind's
};

/// Of options.kind, for those parameters.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const nn::Tensors& parameters);

class Adam : public Optimizer {
 public:
  explicit Adam(const nn::Tensors& parameters);
  double update(const OptimizerOptions& options, double rate, nn::Tensors& parameters,
                const std::vector<at::Tensor>& gradients) override;
  nn::Tensors state() const override;  ///< "m", "v" (all parameters, flattened, in order of name), "step"
  void load(const nn::Tensors& state) override;

 private:
  at::Tensor m_, v_;
  std::int64_t step_ = 0;
};

/// An exponential average of weights (never of spectral norm's u and v): a <- a + (1 - decay_t)(p - a),
/// decay_t = min(decay, (1 + t) / (10 + t)), so that the first steps are not remembered for long.
class Average {
 public:
  explicit Average(const nn::Tensors& parameters);
  void update(const nn::Tensors& parameters, double decay);
  const nn::Tensors& weights() const { return weights_; }
  nn::Tensors& weights() { return weights_; }
  std::int64_t step() const { return step_; }
  void set_step(std::int64_t step) { step_ = step; }

 private:
  nn::Tensors weights_;
  std::int64_t step_ = 0;
};

}  // namespace igebm::training
