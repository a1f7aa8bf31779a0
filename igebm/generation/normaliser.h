#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/energy/energy.h"
#include "igebm/sampling/sampler.h"

/// log Z(sigma) = log of the integral of exp(-E(x, sigma)), by thermodynamic integration over noise levels: d log Z / d
/// log sigma is minus the mean of dE / d log sigma over samples of that level, and at the greatest noise the law is
/// nearly a Gaussian.
namespace igebm::generation {

using EnergyAt = std::function<energy::EnergyPtr(double sigma)>;

struct Normaliser {
  std::vector<double> log_sigma, log_z;  ///< from the greatest noise to the least
  double deviation = 0;                  ///< of the last log_z: how far chance may have moved it
  double at(double sigma) const;         ///< in a straight line between them
};

/// Of a model, whose law at sigma is that of x + sigma n: x (M, ...) are samples without noise. With n come two sums of
/// mean 0, |n|^2 - d and n (x - mean), that take most of the chance out of dE / d log sigma. At the greatest noise log
/// Z = h - mean E, where h is the entropy of a Gaussian of x's covariance and sigma^2.
Normaliser normaliser_of_samples(const EnergyAt& energy, const sampling::NoiseRange& range, const at::Tensor& x,
                                 std::int64_t levels, std::uint64_t seed);

/// That log Z at the greatest noise alone: of an energy all of whose levels share it, log Z at each.
double log_z_of_gaussian(const energy::Energy& energy, double sigma, const at::Tensor& x, std::uint64_t seed);
inline constexpr std::int64_t gaussian_records = 500;  ///< samples that are enough for it

/// Of any energy that MALA moves well at each level, such as a composition in the plane: `count` chains of shape
/// `shape`, `moves` at each of `levels`. At the greatest noise log Z is the mean of exp(-E) / q over the Gaussian q
/// that chains start with.
Normaliser normaliser_of_chains(const EnergyAt& energy, const sampling::NoiseRange& range,
                                const std::vector<std::int64_t>& shape, std::int64_t count, std::int64_t levels,
                                std::int64_t moves, std::uint64_t seed, const Progress& progress = {});

}  // namespace igebm::generation
