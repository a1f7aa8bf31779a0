#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "igebm/base/observer.h"
#include "igebm/model/model.h"

/// What a model's energy says of inputs at several noise levels.
namespace igebm::scoring {

struct Profile {
  at::Tensor energy;    ///< (N, L) double: E(x, sigma)
  at::Tensor log_norm;  ///< (N, L) double: log of sigma |dE/dx(x, sigma)|; of a model without levels, of |dE/dx|
  /// Of pictures, (N, S) double: how the gradient lies in the picture, at each level. With g = dE/dx, p the mean of g^2
  /// over channels and r that of p over pixels: log mean p^2 / r^2 (few pixels, or all alike); mean g g' / r of
  /// neighbours to the right, and below; and the mean of (mean of g over channels)^2 / r of colour pictures.
  at::Tensor layout;
  at::Tensor gradient;  ///< (N, ...) float, if asked for: sigma dE/dx at one level
};

/// Levels from the least that the model takes to the root mean square of its data's elements, times 4: evenly spaced
/// in log sigma. A model without noise levels has one, of sigma 1.
std::vector<double> profile_levels(const model::Model& model, std::int64_t count);

/// The energy of x as the model knows it under `condition`, at sigma where it takes levels. Of a model that needs a
/// class, and is told none, that of their even mixture, -log mean_y exp(-E(x, y)). Throws UserError where it needs
/// numbers.
energy::EnergyPtr energy_under(const model::Model& model, const nn::Condition& condition, double sigma);

/// Noise that is added to an input before its energies are asked. E(., sigma) is the energy of data under noise of
/// sigma, and was trained on nothing else: an input without noise is one that it knows little about, at great sigma
/// above all (denoisers that tell classes are asked under noise as well: Li et al. 2023, Clark & Jaini 2023).
struct LevelNoise {
  std::int64_t draws = 0;  ///< of each level; 0: none
  std::uint64_t seed = 0;
};

/// sigma z_k, k = 0 … draws - 1, of one input of that shape, float; one of 0 where there are no draws. z is standard
/// normal, z_2j+1 = -z_2j, of each sigma its own, whatever levels stand beside it.
std::vector<at::Tensor> level_noise(at::IntArrayRef shape, double sigma, const LevelNoise& noise);

/// The mean of `energy` at x + noise_k, k = 0 … (at least one), which lie on the energy's device. Energies are double.
energy::EnergyPtr averaged(energy::EnergyPtr energy, std::vector<at::Tensor> noise);

/// For one thread at a time.
class NoiseProfile {
 public:
  /// `condition` has one row or none. The model's engine is to compute in f32.
  NoiseProfile(const model::Model& model, const nn::Condition& condition, std::int64_t levels);
  /// Of any energies, one for each sigma, that take their input on `device`.
  NoiseProfile(std::vector<double> sigmas, std::vector<energy::EnergyPtr> energies,
               c10::Device device = c10::Device(c10::DeviceType::CPU))
      : device_(device), sigmas_(std::move(sigmas)), energies_(std::move(energies)) {}

  const std::vector<double>& sigmas() const { return sigmas_; }
  /// Of x (N, ...) in the model's range, a part at a time. gradient_level: whose gradient is kept; below 0, none.
  Profile of(const at::Tensor& x, std::int64_t gradient_level = -1, const Progress& progress = {}) const;
  const energy::Energy& energy(std::size_t level) const { return *energies_[level]; }

 private:
  c10::Device device_;
  std::vector<double> sigmas_;
  std::vector<energy::EnergyPtr> energies_;
};

}  // namespace igebm::scoring
