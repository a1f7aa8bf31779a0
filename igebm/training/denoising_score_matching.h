#pragma once

#include <array>

#include "igebm/model/noise.h"
#include "igebm/training/objective.h"

namespace igebm::training {

/// How the noise levels of training are drawn.
enum class NoiseLaw { log_uniform, log_normal };
inline constexpr std::array noise_law_names = {"log-uniform", "log-normal"};
constexpr const auto& names_of(NoiseLaw) { return noise_law_names; }

/// Denoising score matching at all noise levels (Vincent 2011; Song & Ermon 2019, equations 5 and 6) of the score
/// -dE/dy of a scalar energy (as Reduce, Reuse, Recycle, Du et al. 2023), y = x + sigma n, n standard normal:
///   L = mean w |y - sigma^2 dE/dy - x|^2 over elements,
/// with the weight w that gives G' a target of unit size at every level. model::EnergyForm::noise: w = 1 / sigma^2,
///   L = mean |G'(c y) - n|^2;
/// model::EnergyForm::preconditioned: w = 1 / (sigma s c)^2 (Karras et al. 2022),
///   L = mean |G'(c y) - c (s n - sigma / s x)|^2.
///
/// The gradient in y alone leaves open how the energies of parts of the data that lie far apart compare, and those of
/// two levels. With time_score (EnergyForm::preconditioned) the loss has a second term, of the gradient in t = sigma^2
/// (dual score matching, Guth et al. 2025), in units of the square of its target's standard deviation:
///   time_score mean 2 d r^2,   r = t / d dE/dt - (1 - |n|^2 / d) / 2,   t / d d/dt = sigma / (2 d) d/dsigma.
///
/// Nor does it say how the energies of classes compare. With `classes` the loss has a term of a joint energy
/// (Grathwohl et al. 2020), so that the class of the least energy is the likeliest:
///   classes mean -log p(label | y, sigma),   p(k | y, sigma) = softmax_k(-E(y, sigma, k)),
/// over the first `classes_share` of a step's records, but for those whose label is left out.
struct DenoisingScoreMatchingOptions {
  static constexpr const char* section = "denoising_score_matching";
  static constexpr Network trains = Network::energy_at_noise_levels;

  double weight = 1;
  model::NoiseScale noise = {.sigma_data = 0};  ///< sigma_data 0: not known yet
  NoiseLaw law = NoiseLaw::log_uniform;         ///< between sigma_min and sigma_max
  std::int64_t levels = 0;  ///< of log_uniform: one of so many in a geometric progression; 0: any between
  /// Of log_normal: ln sigma ~ N(log_mean, log_deviation^2), brought into [sigma_min, sigma_max], but for a share of
  /// records whose law is log-uniform: energies are compared at the greatest noise, which the former seldom draws.
  double log_mean = -0.7, log_deviation = 1.3;
  double uniform_share = 0.1;
  double time_score = 0;  ///< 0: none
  double classes = 0;     ///< 0: none
  double classes_share = 0.25;
};

void describe(io::Fields& fields, DenoisingScoreMatchingOptions& options);

class DenoisingScoreMatching : public Objective {
 public:
  /// Throws UserError unless the graph takes noise levels and sigma_data is known, or for a time_score of another form.
  DenoisingScoreMatching(const DenoisingScoreMatchingOptions& options, const nn::Graph& graph);
  Loss loss(const Step& step) override;

 private:
  /// The second term at u = c y, y = x + sigma noise: what moves with ln sigma, and residuals 2 d / scale_of(sigma) r.
  engine::Motion time_score(const Step& step, const at::Tensor& u, const at::Tensor& noise,
                            const at::Tensor& sigma) const;
  /// Its residuals, and its gradient added to `into`, where the engine has no tangent along the motion.
  at::Tensor by_differences(const Step& step, const at::Tensor& y, const at::Tensor& sigma,
                            const engine::Motion& motion, nn::Tensors& into) const;
  /// The cross entropy of classes, whose gradient is added to `into`.
  double of_classes(const Step& step, const at::Tensor& y, const at::Tensor& sigma, nn::Tensors& into) const;
  /// What an energy is in units of its network's, (N) double, but for terms that are the same for all classes.
  at::Tensor scale_of(const at::Tensor& sigma) const;
  DenoisingScoreMatchingOptions options_;
};

}  // namespace igebm::training
