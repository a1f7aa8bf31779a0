#pragma once

#include <memory>
#include <string>
#include <vector>

#include "igebm/training/optimizer.h"

namespace igebm {
class Recording;
}

namespace igebm::training {

/// Muon (Jordan et al. 2024): a weight's step is its momentum with all singular values brought near 1, so that no
/// direction is left behind because its gradient is small. For every weight that is a matrix, seen as (out, the rest),
/// of more than 4 rows and columns:
///   M <- momentum M + (1 - momentum) g,   U = orthogonalized(momentum M + (1 - momentum) g)       (Nesterov)
///   W <- W - rate factor 0.2 sqrt(max(rows, columns)) U
/// The root makes a step's elements about as large as Adam's, whose learning rate then serves both (Liu et al. 2025).
/// What is no such matrix - biases, norms, the last layers - is Adam's.
///
/// A weight that spectral norm divides by its largest singular value is taken raw. Its gradient does not change its
/// size, only steps do, which makes later ones smaller beside it, as with Adam.
class Muon : public Optimizer {
 public:
  explicit Muon(const nn::Tensors& parameters);
  ~Muon() override;
  double update(const OptimizerOptions& options, double rate, nn::Tensors& parameters,
                const std::vector<at::Tensor>& gradients) override;
  /// "momentum" (of its weights, flattened, in order of name) and what Adam keeps of the rest.
  nn::Tensors state() const override;
  void load(const nn::Tensors& state) override;

 private:
  /// weights less `length` times their steps by the directions `by`.
  void move(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& by, double length);

  nn::Tensors momentum_;  // by weight
  Adam rest_;
  // On a device: recorded steps, of directions copied there.
  std::vector<at::Tensor> from_, steps_;
  std::unique_ptr<Recording> recorded_;
};

/// (rows, columns), or (count, rows, columns) for each of them, with singular values between about 0.7 and 1.2 instead
/// of its own, if none is tiny beside the largest: five Newton-Schulz steps with Jordan's coefficients. A matrix of
/// zeros stays one.
at::Tensor orthogonalized(const at::Tensor& matrix);

/// The steps of `weights` along themselves, 0.2 sqrt(max(rows, columns)) U each; those of one size at once, as a device
/// wants it.
std::vector<at::Tensor> orthogonal_steps(const std::vector<at::Tensor>& weights);

}  // namespace igebm::training
