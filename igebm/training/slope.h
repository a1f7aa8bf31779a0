#pragma once

#include <memory>

#include "igebm/training/objective.h"

namespace igebm::training {

/// A number for each of the batch, (N), in the shape that multiplies `like` (N, ...).
at::Tensor column(const at::Tensor& each, const at::Tensor& like);

/// dE/dx of a training step's network, and parameter gradients through it.
///
/// The gradient in the parameters of sum_i c_i <v_i, dE/dx(x_i)>, v held, is sum_i c_i times the derivative of
/// dE(x_i + s v_i)/d theta in s at 0. An engine that has tangents takes just that. Where it derives parameters alone,
/// and E is smooth, it is the central difference over s = +-slope_step / rms(v_i): two gradients of plain energies
/// instead of a gradient of a gradient. Elsewhere autograd takes the latter.
constexpr double slope_step = 0.002;

class Slope {
 public:
  /// At x (N, ...) of about unit size, under labels as the network takes them. With dropout as in training where the
  /// network has it, or of the network that samples are drawn from, which drops nothing.
  enum class Of { training, sampling };
  Slope(const Step& step, const at::Tensor& x, const at::Tensor& labels, Of of = Of::training);

  const at::Tensor& energy() const { return energy_; }      ///< E(x) (N), detached
  const at::Tensor& gradient() const { return gradient_; }  ///< dE/dx (N, ...), detached

  /// Adds the gradient of sum_i c_i <v_i, dE/dx(x_i)> to `into`, by the effective weights' names; v (N, ...), c (N).
  /// At most once: the graph of what autograd did is gone then.
  void pull(const at::Tensor& v, const at::Tensor& c, nn::Tensors& into) const;

 private:
  const Step& step_;
  at::Tensor x_, labels_, energy_, gradient_;
  std::unique_ptr<engine::Tangent> tangent_;
  at::Tensor differentiable_;    // dE/dx with its graph, where autograd is to take the gradient
  nn::EffectiveWeights leaves_;  // the weights in that graph
};

/// dE/dx at x as Slope has it, and the gradient of c sum_i |dE/dx(x_i) - target_i|^2 added to `into`. With `motion`
/// also its residuals and its term's gradient, where the engine has joint tangents; elsewhere residuals are undefined,
/// and of the motion nothing is done.
engine::Matched match_slope(const Step& step, const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target,
                            double c, nn::Tensors& into, const engine::Motion* motion = nullptr);

}  // namespace igebm::training
