#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/scoring/anomaly.h"
#include "igebm/scoring/noise_profile.h"
#include "igebm/scoring/pixel_baselines.h"

/// A number for any input: how odd it is to a model.
namespace igebm::scoring {

struct ScorerOptions {
  nn::Condition condition = {};  ///< one row, or none: NoiseProfile
  std::int64_t levels = 10;      ///< of noise
  bool levels_compare = false;   ///< energies of all noise levels are known but for one number (training's time_score)
};

/// What usual inputs taught.
struct Usual {
  Anomaly score;            ///< fitted on two thirds of them
  at::Tensor anomaly;       ///< (n) of the others
  double energy = 0;        ///< the median of all
  std::int64_t fitted = 0;  ///< how many the score saw
  /// log of the integral of exp(-E) at the least noise level, so that log p = -E - log_z: of points in the plane by
  /// quadrature; of others where levels compare and no condition is given, by the Gaussian that the law is at the
  /// greatest noise (generation::log_z_of_gaussian). Else energies are known but for a constant: NaN.
  double log_z = std::numeric_limits<double>::quiet_NaN();
  std::optional<PixelGaussian> pixels = {};  ///< of pictures
};

struct Scores {
  at::Tensor energy;         ///< (N) double, at the least noise level
  at::Tensor gradient_norm;  ///< (N) double, |dE/dx| there
  at::Tensor anomaly;        ///< (N) double
  at::Tensor p;              ///< (N) double: p_values among usual inputs
  Profile profile;
};

/// The default anomaly score, fixed for all models. Its figures are log sigma |dE/dx(x, sigma)| and E(x, sigma) at
/// levels of noise, and of pictures Profile::layout, the former of a Gaussian over pixels with the same noise, and the
/// logarithms of png_lengths and total_variations. Its excess is the mean over the levels within a factor of 3 below
/// and 1.5 above the data's deviation of log |dE/dx|, less that of the Gaussian: how little the network sees in a
/// picture beside what pixels' covariances tell.
///
/// Pictures are bytes (N, C, H, W), whatever they come from, so that all take one way into the model: the middle of
/// their level's bin where its data were dequantised, else pixel / 255. Points are float (N, D). For one thread.
class Scorer {
 public:
  Scorer(const model::Model& model, const ScorerOptions& options);

  /// Fits the anomaly score on two of three usual inputs, so that the third gives p-values that are true; of pictures,
  /// the Gaussian on `pixels`.
  void fit(const at::Tensor& usual, const at::Tensor& pixels, const Progress& progress = {});
  void take(Usual usual) { usual_ = std::move(usual); }
  const Usual& usual() const { return *usual_; }

  /// REQUIRES: fit or take.
  Scores of(const at::Tensor& inputs, std::int64_t gradient_level = -1, const Progress& progress = {}) const;
  /// How far E falls, at the least noise level, by `steps` steps of half that level's variance against the gradient.
  at::Tensor refined(const at::Tensor& inputs, std::int64_t steps, const Progress& progress = {}) const;

  /// E at the least noise level alone.
  at::Tensor energies(const at::Tensor& inputs) const;

  const std::vector<double>& sigmas() const { return profile_.sigmas(); }
  /// The geometric mean of usual inputs' sigma |dE/dx| at that level, an element (root mean square). REQUIRES: fit or
  /// take.
  double usual_gradient(std::int64_t level) const;
  at::Tensor into_model(const at::Tensor& inputs) const;

 private:
  struct Seen {
    at::Tensor figures, excess;
  };
  Seen seen(const at::Tensor& inputs, const Profile& profile, const std::optional<PixelGaussian>& pixels) const;

  model::SampleSpace space_;
  bool dequantize_;
  std::vector<std::int64_t> middle_;  // levels of the excess
  c10::Device device_;
  NoiseProfile profile_;
  std::function<double(const at::Tensor& x)> own_log_z_;  // of usual inputs in the model's range; null: none
  std::optional<Usual> usual_;
};

}  // namespace igebm::scoring
