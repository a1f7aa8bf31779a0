#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "igebm/energy/energy.h"

namespace igebm::scoring {

/// exp(-E(x)) of points in the square [-bound, bound]^2, as a grid of 1,000 x 1,000 cells sees it: exact to rounding
/// where E has no detail finer than some cells.
class PlaneLaw {
 public:
  /// The energy, which must live as long, takes its input on `device`.
  PlaneLaw(const energy::Energy& energy, double bound, c10::Device device);
  double log_z() const { return log_z_; }  ///< log of the integral
  /// Exact samples by rejection from even points, float (count, 2), a function of the seed. Throws UserError where
  /// fewer than one in 10,000 is kept.
  at::Tensor sample(std::int64_t count, std::uint64_t seed) const;

 private:
  at::Tensor log_density(const at::Tensor& points) const;  // but for log Z: (N) double
  const energy::Energy& energy_;
  double bound_, log_z_ = 0, greatest_ = 0;
  c10::Device device_;
};

}  // namespace igebm::scoring
