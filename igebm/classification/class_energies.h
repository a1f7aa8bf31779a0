#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/evaluation/records.h"
#include "igebm/scoring/noise_profile.h"

/// Classes by energies that were each trained on one class alone.
namespace igebm::classification {

struct ClassEnergyOptions {
  /// Noise levels, in the model's range, at which log densities are compared; their mean counts.
  std::vector<double> sigmas = {0.3, 0.6, 1.2};
  std::int64_t calibrated = 300;  ///< of the class's training records, that its log Z is found with
  std::int64_t levels = 24;       ///< noise levels that log Z is integrated over
  std::int64_t draws = 2;         ///< of a level's noise, over which energies are averaged (LevelNoise)
  /// Also of that noise, which has to be the same for all classes that are compared.
  std::uint64_t seed = 0;
};

/// What remembers one class: its energy, and log Z of it at each level, found with records of that class alone
/// (generation::normaliser_of_samples): nothing of another class is needed, and energies of separate trainings compare.
class ClassEnergy {
 public:
  /// `records`: uint8 (N, C, H, W) or float (N, D), of that class. Throws UserError where the model takes no noise
  /// levels, or needs a condition.
  ClassEnergy(const model::Model& model, const at::Tensor& records, const ClassEnergyOptions& options);
  /// log p(x + sigma z | class) of each level, a mean over draws of z (level_noise): (N, L) double.
  at::Tensor log_densities(const at::Tensor& x, const Progress& progress = {}) const;
  const std::vector<double>& log_z() const { return log_z_; }  ///< at each level

 private:
  c10::Device device_;
  model::SampleSpace space_;
  bool dequantised_;
  std::vector<energy::EnergyPtr> energies_;  // of each level, averaged
  std::vector<double> log_z_;
};

}  // namespace igebm::classification
