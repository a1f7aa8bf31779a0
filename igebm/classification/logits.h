#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/classification/calibration.h"
#include "igebm/model/files.h"
#include "igebm/model/model.h"
#include "igebm/scoring/noise_profile.h"

/// What tells classes apart by a number for each: classifiers as attacks see them.
namespace igebm::classification {

/// For one thread at a time. Inputs are pictures (N, C, H, W), double in [0, 1]; logits (N, K) double, of which
/// softmax gives the classes' probabilities.
class Logits {
 public:
  struct Pulled {
    at::Tensor logits;
    at::Tensor gradient;  ///< like x, double: it may be far below what a float holds
  };

  virtual ~Logits() = default;
  virtual at::Tensor of(const at::Tensor& x) const = 0;
  /// With the gradient in x of the cross entropy at labels (N) int64. `asked` (N, K) bool, true at labels: the only
  /// classes that count; others may have logit -inf and no share of the gradient. Undefined: all.
  virtual Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked = {}) const = 0;
};

/// dL/dlogits of the cross entropy at labels: softmax - one-hot, exact also where the softmax rounds to one-hot.
at::Tensor cross_entropy_slopes(const at::Tensor& logits, const at::Tensor& labels);

/// A model's energy as a function of pixels in [0, 1], which come to where training has the middle of their level's
/// bin.
energy::EnergyPtr of_unit(const model::Model& model, energy::EnergyPtr energy);

/// The class by least energy: logit_y = b_y - sum_l w_l mean_k E(x + sigma_l z_lk, sigma_l, y), with the energies of a
/// model that takes classes (z: LevelNoise). The logits are a function of x like any other: whoever attacks sees the
/// noise, and has exact gradients. The densities exp(-E) have normalisers that training may leave open, one for each
/// class and level: b_y holds them, with the classes' prior. w is a temperature's inverse.
class EnergyLogits : public Logits {
 public:
  /// sigmas: noise levels; one, of any value, for a model that takes none, which takes no noise either. b = 0 and w = 1
  /// until `use`. Throws UserError where the model takes no classes or its records are no pictures.
  EnergyLogits(const model::Model& model, const std::vector<double>& sigmas, const scoring::LevelNoise& noise = {});
  void use(const Calibration& calibration) { calibration_ = calibration; }

  /// E of x under each level and class, a mean over draws of noise, (N, L, K) double.
  at::Tensor energies(const at::Tensor& x, const Progress& progress = {}) const;
  at::Tensor of(const at::Tensor& x) const override;
  /// Without `asked` all energies are computed first, and then gradients of classes whose softmax is at least
  /// `least_share` of the greatest among those that are not the label's.
  Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked = {}) const override;
  static constexpr double least_share = 1e-4;

 private:
  at::Tensor on_device(const at::Tensor& x) const;
  energy::EnergyPtr energy_of(const nn::Condition& condition, std::size_t level) const;  // of_unit, averaged

  model::Model model_;
  std::vector<double> sigmas_;
  std::int64_t classes_;
  std::vector<std::vector<at::Tensor>> noise_;            // of each level, in pixels of [0, 1]
  std::vector<std::vector<energy::EnergyPtr>> energies_;  // of each level, by class
  Calibration calibration_;
};

/// A classifier's network, such as recipes/classifier-fashion-mnist.toml trains, by autograd. In double where its
/// weights are.
class NetworkLogits : public Logits {
 public:
  /// low and high: what black and white are to the network. temperature: logits are divided by it.
  NetworkLogits(nn::Graph graph, nn::EffectiveWeights weights, double low = 0, double high = 1);
  void use(const Calibration& calibration) { calibration_ = calibration; }

  at::Tensor of(const at::Tensor& x) const override;
  Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked = {}) const override;

 private:
  at::Tensor logits(const at::Tensor& x) const;  // differentiable in x

  nn::Graph graph_;
  nn::EffectiveWeights weights_;
  double low_, high_;
  Calibration calibration_;
};

}  // namespace igebm::classification
