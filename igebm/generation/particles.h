#pragma once

#include <cstdint>
#include <vector>

#include "igebm/energy/energy.h"
#include "igebm/sampling/chains.h"

/// Chains that carry weights from noise level to noise level (sequential Monte Carlo).
namespace igebm::generation {

/// Groups of `each` chains in a row, which are drawn anew by their weights where those have become unequal. What a
/// group does is a function of its own chains and streams.
class WeighedChains {
 public:
  WeighedChains(std::int64_t each, std::uint64_t seed) : each_(each), seed_(seed) {}
  /// log_weights (N) is added to the chains' own.
  void gain(const at::Tensor& log_weights);
  /// Groups whose effective number of chains, 1 / sum of squared shares, is below `least` of `each`: systematic
  /// resampling, after which all chains of the group count alike.
  void draw_anew(sampling::Chains& chains, double least = 0.5);
  /// The number of one chain of each group, by their weights (N / each) int64.
  at::Tensor chosen(const sampling::Chains& chains) const;
  std::int64_t each() const { return each_; }

 private:
  at::Tensor shares() const { return log_weights_.softmax(1); }
  std::int64_t each_;
  std::uint64_t seed_;
  std::uint32_t draws_ = 0;  // so far
  at::Tensor log_weights_;   // (groups, each) double, of the CPU
};

/// Sequential Monte Carlo for products: the Feynman-Kac corrector of Skreta et al. 2025 (proposition 3.1, "Feynman-Kac
/// correctors in diffusion").
///
/// Let q_i be densities of noised data, E = sum_i w_i E_i and sum_i w_i = 1. Chains that are carried from noise level
/// to noise level by E's gradient do not follow exp(-E) at each level, though each q_i by itself would be followed. A
/// chain that also gathers the weight
///   d log w = 1/2 (|sum_i w_i g_i|^2 - sum_i w_i |g_i|^2) d(sigma^2),  g_i = dE_i/dx,
/// does; the Laplacians fall out. With g_i = g_0 + d_i it is the sum of the inner products of d_i and d_j: chains count
/// on which the parts agree.
class Particles {
 public:
  /// `each` chains in a row are a group, from which one is to be chosen at the end.
  Particles(std::int64_t each, std::uint64_t seed) : chains_(each, seed) {}

  /// To be called at each noise level before chains move there, from the greatest on, with the energies at that level.
  void at_level(double sigma, const std::vector<energy::EnergyPtr>& parts, const std::vector<double>& weights,
                sampling::Chains& chains);
  at::Tensor chosen(const sampling::Chains& chains) const { return chains_.chosen(chains); }

 private:
  WeighedChains chains_;
  double sigma_ = 0;  // of the level before
};

/// The same for any energies, whatever they are put together from, whose kernel leaves exp(-E / T) as it is (a
/// sequential Monte Carlo sampler, Del Moral et al. 2006; annealed importance sampling, Neal 2001, drawn anew on the
/// way). Kernels of short steps do not carry chains from one separate mode to another at little noise, where the modes'
/// shares at one level are not yet those at the next. Between levels x becomes x' and gains the weight
///   exp((E(x) - E'(x')) / T) |det dx'/dx|.
/// In many dimensions weights are too unequal. A group forgets how much its weights were in all, so that shares that
/// change much on the way are off by about one in a group's number of chains.
class Population {
 public:
  /// How x' comes from x; whichever it is must have one way back.
  enum class Way {
    /// x' = x - (sigma - sigma') sigma / W dE/dx, by a Hessian-vector product for each dimension: where E is a sum or a
    /// mixture of energies of noised data with weights above 0, of which no slope of dE/dx is above W / sigma^2.
    /// Weights
    /// say how much a composition differs from noised data.
    predictor,
    /// As a Gaussian of the group's own mean and spread would shrink; the Jacobian is the group's, and falls out.
    shrinking,
  };
  Population(std::int64_t each, std::uint64_t seed, Way way, double temperature)
      : chains_(each, seed), way_(way), temperature_(temperature) {}
  /// As Particles::at_level. weight: of the composition (NoiseRange); after the last level all chains count alike.
  void at_level(double sigma, double weight, bool last, const energy::EnergyPtr& energy, sampling::Chains& chains);

 private:
  struct Moved {
    at::Tensor energy_before, x, log_jacobian;  // the last but for what the group shares
  };
  Moved moved(double sigma, double weight, const at::Tensor& x) const;

  WeighedChains chains_;
  Way way_;
  double temperature_;
  double sigma_ = 0;          // of the level before
  energy::EnergyPtr energy_;  // the same
};

}  // namespace igebm::generation
