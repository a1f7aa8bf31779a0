#pragma once

#include <cstdint>
#include <vector>

#include "igebm/energy/energy.h"
#include "igebm/sampling/chains.h"

namespace igebm::generation {

/// Sequential Monte Carlo for products: the Feynman-Kac corrector of Skreta et al. 2025 (proposition 3.1, "Feynman-Kac
/// correctors in diffusion").
///
/// Let q_i be densities of noised data, E = sum_i w_i E_i and sum_i w_i = 1. Chains that are carried from noise level
/// to noise level by E's gradient do not follow exp(-E) at each level, though each q_i by itself would be followed. A
/// chain that also gathers the weight
///   d log w = 1/2 (|sum_i w_i g_i|^2 - sum_i w_i |g_i|^2) d(sigma^2),  g_i = dE_i/dx,
/// does; the Laplacians fall out. With g_i = g_0 + d_i it is the sum of the inner products of d_i and d_j: chains count
/// on which the parts agree. Groups of chains are drawn anew by their weights where those have become unequal.
class Particles {
 public:
  /// `each` chains in a row are a group, from which one is chosen at the end.
  Particles(std::int64_t each, std::uint64_t seed) : each_(each), seed_(seed) {}

  /// To be called at each noise level before chains move there, from the greatest on, with the energies at that level.
  void at_level(double sigma, const std::vector<energy::EnergyPtr>& parts, const std::vector<double>& weights,
                sampling::Chains& chains);
  /// The number of one chain of each group, by their weights (N / each) int64.
  at::Tensor chosen(const sampling::Chains& chains) const;

 private:
  at::Tensor shares() const;  // (groups, each) double, of the CPU
  std::int64_t each_;
  std::uint64_t seed_;
  double sigma_ = 0;          // of the level before
  std::uint32_t levels_ = 0;  // so far
  at::Tensor log_weights_;    // (groups, each) double, of the CPU
};

}  // namespace igebm::generation
