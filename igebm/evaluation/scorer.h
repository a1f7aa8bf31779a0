#pragma once

#include <limits>
#include <optional>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/evaluation/anomaly.h"
#include "igebm/evaluation/noise_profile.h"

/// A number for any input: how odd it is to a model.
namespace igebm::evaluation {

struct ScorerOptions {
  nn::Condition condition = {};  ///< one row, or none: NoiseProfile
  std::int64_t levels = 10;      ///< of noise
};

/// What usual inputs taught.
struct Usual {
  Mahalanobis distance;     ///< fitted on half of them
  at::Tensor anomaly;       ///< (n) of the other half
  double energy = 0;        ///< the median of all
  std::int64_t fitted = 0;  ///< how many the distance saw
  /// log of the integral of exp(-E) at the least noise level, of points in the plane, by quadrature: there log p = -E -
  /// log_z. Others' energies are known but for a constant: NaN.
  double log_z = std::numeric_limits<double>::quiet_NaN();
};

struct Scores {
  at::Tensor energy;         ///< (N) double, at the least noise level
  at::Tensor gradient_norm;  ///< (N) double, |dE/dx| there
  at::Tensor anomaly;        ///< (N) double
  at::Tensor p;              ///< (N) double: p_values among usual inputs
  Profile profile;
};

/// Pictures are bytes (N, C, H, W), whatever they come from, so that all take one way into the model: the middle of
/// their level's bin where its data were dequantised, else pixel / 255. Points are float (N, D). For one thread.
class Scorer {
 public:
  Scorer(const model::Model& model, const ScorerOptions& options);

  /// Fits the anomaly score on usual inputs: on the even ones, so that the odd ones give p-values that are true.
  void fit(const at::Tensor& usual, const Progress& progress = {});
  void take(Usual usual) { usual_ = std::move(usual); }
  const Usual& usual() const { return *usual_; }

  /// REQUIRES: fit or take.
  Scores of(const at::Tensor& inputs, std::int64_t gradient_level = -1, const Progress& progress = {}) const;
  /// How far E falls, at the least noise level, by `steps` steps of half that level's variance against the gradient.
  at::Tensor refined(const at::Tensor& inputs, std::int64_t steps, const Progress& progress = {}) const;

  /// E at the least noise level alone.
  at::Tensor energies(const at::Tensor& inputs) const;

  const std::vector<double>& sigmas() const { return profile_.sigmas(); }
  at::Tensor into_model(const at::Tensor& inputs) const;

 private:
  at::Tensor figures(const at::Tensor& inputs, const Profile& profile) const;
  double log_normaliser(double extent) const;

  model::SampleSpace space_;
  bool dequantize_;
  c10::Device device_;
  NoiseProfile profile_;
  std::optional<Usual> usual_;
};

}  // namespace igebm::evaluation
