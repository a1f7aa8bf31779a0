#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "igebm/sampling/sampler.h"

/// Adaptive computation: each chain takes as many gradients as it needs, and its place in the batch goes to the next.
/// Chains are numbered and asked for their conditions before any of them moves, all that are begun are finished, and a
/// chain's numbers depend on seed, stream and step alone: so neither the batch nor how quick others are changes it.
namespace igebm::sampling {

/// When a chain has settled. The defaults were chosen on training data (docs/adaptive.md).
struct SettledOptions {
  /// Gradients that a chain may take; it is then made to end. 0: as many as the sampler takes otherwise, and without
  /// noise levels 20 windows at least.
  std::int64_t most = 0;

  // Of energies that take a noise level, in root mean squares over elements.
  double longest = 0.25;   ///< a step, in log sigma
  double tolerance = 0.1;  ///< a step's error, relative to sigma or `detail`
  double detail = 0.1;     ///< error that does not matter at any level
  double rest = 0.05;      ///< what a chain that has settled would still move, in all

  // Of other energies: what must hold of a window of steps, twice.
  std::int64_t window = 25;  ///< steps
  double energy = 1;         ///< change of the mean energy from one to the next, in standard deviations
  double movement = 2;       ///< square of the distance moved, in sums of the steps' squares
};

/// What became of chains, in the order in which they were begun: all N of them, or where Stop was thrown the first ones
/// up to one that is not finished.
struct Settled {
  at::Tensor x;            ///< (N, ...)
  at::Tensor evaluations;  ///< (N) int64: gradients that each took, guidance not counted
  at::Tensor steps;        ///< (N) int64: Chains::steps
  at::Tensor sigma;        ///< (N) double: the noise level where each settled; 0 without levels
  at::Tensor settled;      ///< (N) bool; not: it took `most`
};

/// One step of all chains in the batch.
struct Round {
  std::int64_t finished = 0, count = 0;  ///< chains
  const StepInfo& info;
  const Chains& chains;     ///< after the step
  const at::Tensor& sigma;  ///< (N) double, where the step took its gradient; undefined without levels
};
using OnRound = std::function<void(const Round&)>;

/// Chains from number `begin` to `end`, where they are to start, for whatever is the same for all of them.
using NewChains = std::function<Chains(std::int64_t begin, std::int64_t end)>;

struct Batch {
  std::int64_t count = 1;  ///< chains in all
  std::int64_t slots = 1;  ///< moved at a time
  NewChains begin;
  std::int64_t begin_cost = 0;  ///< gradients that a chain has taken by then
  std::uint64_t seed = 0;
  OnRound on_round = {};
};

/// The energy of chains under their labels, each at its own sigma (N) double.
using EnergyAtLevels = std::function<energy::EnergyPtr(const at::Tensor& labels, const at::Tensor& sigma)>;

/// Moves chains from sigma_max to where they settle, each at its own pace. With D = x - sigma^2 dE/dx, the mean of what
/// the noise hides, and h the step in -log sigma, a step is AnnealingOptions' predictor with `ancestral`, corrected by
/// how D changed over the step before, h' (the second order of Lu et al. 2022, DPM-Solver++):
///   x <- sigma_down / sigma x + (1 - sigma_down / sigma) (D + h / 2h' (D - D')) + sigma_up n.
/// That correction is about what a step of the first order would be wrong by, h^2 |D - D'| / 2h', and h is the
/// greatest, up to `longest`, that keeps it below tolerance * sqrt(sigma^2 + detail^2).
///
/// A chain's energy changes by sigma^-2 (x - D) dx: it has settled with D. With ancestral = 1 D is a martingale, which
/// has yet to move by the deviation c of the data given x, and moves by |D - D'|^2 = 2 c^4 / sigma^2 h' in a step (of
/// each element, if all are alike; else c is less). So it has settled where
///   c^2 = sigma |D - D'| / sqrt(2 h') < rest^2  for three steps in a row,
/// or at sigma_min, and ends as D there.
Settled settle_through_levels(const SettledOptions& options, double ancestral, const NoiseRange& range,
                              const EnergyAtLevels& energy_at, const Batch& batch);

/// The energy of chains under their labels.
using EnergyOf = std::function<energy::EnergyPtr(const at::Tensor& labels)>;

/// Moves chains by steps of the options' kernel at its final temperature until both hold of a window of steps and the
/// one before it: the mean energy changed by less than `energy` standard deviations, and the chain went no farther than
/// steps at random would, |x - x'|^2 <= movement * sum |step|^2. Then it takes one more window, so that what is
/// returned is not what was judged.
Settled settle(const SettledOptions& options, const SamplerOptions& sampler, const EnergyOf& energy_of,
               const Batch& batch);

}  // namespace igebm::sampling
