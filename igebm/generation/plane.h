#pragma once

#include <string>
#include <vector>

#include "igebm/energy/energy.h"

/// Densities in the plane that expressions name, blurred by noise exactly: the law of x + sigma n, n ~ N(0, I). They
/// are normalised: Z = 1 at every sigma. sigma 0 or above.
namespace igebm::generation {

/// N(mean, (deviation^2 + sigma^2) I).
energy::EnergyPtr blurred_gaussian(double mean_x, double mean_y, double deviation, double sigma);

/// Evenly on the circle of `radius` around 0, blurred by `width`: with s^2 = width^2 + sigma^2,
///   p(x) = exp(-(|x| - r)^2 / 2 s^2) I0e(|x| r / s^2) / (2 pi s^2),  I0e(z) = exp(-z) I0(z).
energy::EnergyPtr blurred_ring(double radius, double width, double sigma);

/// Evenly in a rectangle, x_i in [low_i, high_i]: the product of (Phi((high_i - x_i) / s) - Phi((low_i - x_i) / s)) /
/// (high_i - low_i) with s = max(sigma, 1 % of the shorter side), so that it has a slope everywhere.
energy::EnergyPtr blurred_box(double low_x, double low_y, double high_x, double high_y, double sigma);

/// What expressions call them, and their arguments in words.
struct PlaneDensity {
  std::string name, arguments;
  std::size_t count;
  double (*extent)(const std::vector<double>& numbers);  ///< how far from 0 it reaches, about
  double (*detail)(const std::vector<double>& numbers);  ///< its least width
  /// Throws UserError where numbers are out of range.
  energy::EnergyPtr (*make)(const std::vector<double>& numbers, double sigma);
};
const std::vector<PlaneDensity>& plane_densities();

}  // namespace igebm::generation
