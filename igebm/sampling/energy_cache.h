#pragma once

#include <cstdint>

#include "igebm/energy/energy.h"

namespace igebm::sampling {

/// E and dE/dx where chains are, kept for kernels that compare energies, which so need one evaluation a step. What is
/// kept is found while the same energy is asked for and x and labels are the same tensors, unchanged since; tensors
/// tell that of changes by tensor operations, and Chains::touch of others.
///
/// An energy whose weights change in place, or that is gone, must be forgotten (sampling::run does so first).
class EnergyCache {
 public:
  /// Null where it is not known. On x's device.
  const energy::EnergyAndGradient* find(const energy::Energy& energy, const at::Tensor& x,
                                        const at::Tensor& labels) const;
  /// REQUIRES: they are `energy`'s at x as it is now, and nobody else writes to them.
  void keep(const energy::Energy& energy, const at::Tensor& x, const at::Tensor& labels,
            energy::EnergyAndGradient known);
  void forget() { of_ = nullptr; }

 private:
  const energy::Energy* of_ = nullptr;
  at::Tensor x_, labels_;
  std::uint32_t x_version_ = 0, labels_version_ = 0;
  energy::EnergyAndGradient known_;
};

}  // namespace igebm::sampling
