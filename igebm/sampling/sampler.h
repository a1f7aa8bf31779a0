#pragma once

#include <string>
#include <vector>

#include "igebm/sampling/flow.h"
#include "igebm/sampling/langevin.h"
#include "igebm/sampling/metropolis.h"

namespace igebm::sampling {

/// Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1) of an energy E(x, sigma): noise levels from the greatest
/// to the least, in a geometric progression or evenly in sigma^(1 / rho) (Karras et al. 2022, equation 5), at each of
/// them SamplerOptions::steps Langevin steps of step_size = step_share sigma^2 with the noise that belongs to it, and
/// at last x - sigma^2 dE/dx, the mean of what the least noise hides (Jolicoeur-Martineau et al. 2021). The paper's
/// step_share is 0.1, with 100 steps at each of 10 levels.
///
/// With fewer steps chains keep more noise than the next level's energy knows of. The predictor (Song et al. 2021)
/// takes it away beforehand: x - (sigma - next sigma) sigma dE/dx, Euler's step of the flow that carries samples of one
/// level to the next, so that few steps a level do, or none. Errors that it makes stay. With `ancestral` eta above 0 it
/// goes further, to sigma_down, and draws the rest of the next level's noise anew, by which they fade (ancestral
/// sampling where eta is 1, Ho et al. 2020; a bridge between it and the flow, Song et al. 2020, DDIM, equation 16):
///   x - (sigma - sigma_down) sigma dE/dx + sigma_up n,   sigma_up^2 = eta^2 next^2 (1 - next^2 / sigma^2),
///   sigma_down^2 = next^2 - sigma_up^2.
///
/// A predictor of order 2 adds what D changed by since the predictor before (Lu et al. 2022, DPM-Solver++ 2M): with h
/// and h' the two steps in log sigma, D + h / 2h' (D - D') takes D's place. Not in the last step, to a noise of 0, nor
/// after Langevin steps, which move D as well (of clothing it did harm there).
struct AnnealingOptions {
  std::int64_t levels = 30;
  double rho = 0;  ///< 0: geometric, to which great values come near
  double step_share = 0.1;
  std::vector<double> step_shares = {};  ///< of each level instead (sampling/pilot.h); empty: step_share
  /// Langevin steps whose noise is averaged with the next one's (sampling/averaged.h), which may be ten times as long
  /// where something is known of the sample, as in restorations; of samples from nothing such steps make worse ones, so
  /// that no recipe knows it (docs/experiments/fashion-mnist.md).
  bool averaged = false;
  bool predictor = true;
  double ancestral = 0;    ///< of the predictor
  std::int64_t order = 1;  ///< likewise, 1 or 2
  bool denoise = true;     ///< take that last step
  bool moments = true;     ///< begin as start_at_moments says, instead of around 0
  /// Of energies that know of no class in particular as well: chains follow E_none + guidance (E_class - E_none), which
  /// beyond 1 draws what tells the class (Ho & Salimans 2022). 1: E_class alone, at half the price.
  double guidance = 1;
  /// SamplerOptions::budget from budgets[i] gradients on is spent on budget_steps[i] Langevin steps a level.
  std::vector<std::int64_t> budgets = {1, 200};
  std::vector<std::int64_t> budget_steps = {0, 1};
};

/// How a model is sampled from nothing: start, flow (0 steps: none), then steps of a kernel (0 steps: none).
struct SamplerOptions {
  StartOptions start;
  FlowOptions flow = {.steps = 0};
  std::int64_t steps = 60;  ///< of the kernel
  /// Above 0: gradients that a sample may cost, by which levels and steps are chosen (sampling/budget.h).
  std::int64_t budget = 0;
  /// Above 0: the diffusion time that they cover together, step_size = time / steps. More steps then follow the same
  /// diffusion more finely; they do not go further. The noise must belong to the step for that (langevin.noise below
  /// 0), or be 0.
  double time = 0;
  LangevinOptions langevin = {};
  /// Models that take the steps in turn, as IGEBM's best figures do with the last 10 checkpoints; whoever samples
  /// brings as many.
  std::int64_t ensemble = 1;
  AnnealingOptions annealing;       ///< of energies that take a noise level; flow and the other values of langevin, but
                                    ///< temperature_end, are then of no account
  std::string kernel = "langevin";  ///< or another of registry.h
  MalaOptions mala;                 ///< of "mala", beside those of langevin, which say step, bounds and temperature
  HmcOptions hmc;                   ///< likewise of "hmc"
};

/// Steps that a chain takes from start to end, within its budget; `annealed` if the energy takes a noise level.
std::int64_t step_count(const SamplerOptions& options, bool annealed);
/// The same in words: "20 flow and 10 Langevin steps".
std::string describe_steps(const SamplerOptions& options, bool annealed);

/// Thrown by who is told of steps, to end the sampling of a model: it returns the samples that are finished.
struct Stop {};

/// What is wrong with `time` beside langevin.noise, or nothing.
std::string time_problem(const SamplerOptions& options);

/// Moves chains through flow and kernel. Throws UserError for options that do not go together. Reports every step:
/// positions count both stages together.
void sample(const SamplerOptions& options, const energy::Energy& energy, Chains& chains, std::uint64_t seed,
            const OnStep& on_step = {});

/// The same with an ensemble's energies, oldest first: each step is another's, in turn, the last one's the newest's.
void sample(const SamplerOptions& options, const std::vector<energy::EnergyPtr>& energies, Chains& chains,
            std::uint64_t seed, const OnStep& on_step = {});

/// The energies at a noise level, of an ensemble oldest first.
using EnergiesAt = std::function<std::vector<energy::EnergyPtr>(double sigma)>;

struct NoiseLevel;  // schedule.h
/// What may be told beside the energies at noise levels.
struct LevelHooks {
  /// Sees chains, and may change them, before the steps of each noise level.
  std::function<void(const NoiseLevel&, Chains&)> before = {};
  /// The energies whose slope leads from a level to the next, and to none; null: those of the level.
  EnergiesAt descent = {};
};

/// The noise levels of an energy E(x, sigma).
struct NoiseRange {
  double sigma_min = 0, sigma_max = 0;
  /// Of a composition: the sum of its energies' weights, W. Where noise hides the data each energy is |x|^2 / (2
  /// sigma^2) but for a constant, so that the composition is a Gaussian of variance sigma^2 / W: chains start with
  /// that, steps of size h become h / W, and D(x) = x - sigma^2 dE/dx / W is the energies' mean denoised x.
  double weight = 1;
};

/// Chains of standard normal numbers become those of data with the greatest noise, sigma, which hides most of the data:
/// by the denoiser D(y) = y - sigma^2 dE/dy, y = sigma n + (D(0) + D(sigma n)) / 2, at two gradients. Of Gaussian data
/// N(m, S), where D(y) = m + S (S + sigma^2)^-1 (y - m), the covariance S + sigma^2 is right to the first order in S /
/// sigma^2, and the mean is m less S (S + sigma^2)^-1 m. Of a composition D has 1 / W beside the gradient, and sigma n
/// the deviation sigma / sqrt(W).
void start_at_moments(const energy::Energy& energy, const NoiseRange& range, Chains& chains);

/// The same with kernels that hold their step size. At noise levels it is step_share sigma^2: one that each chain
/// learned for itself would depend on the mode that the chain is in, and so would the chance to leave it, which puts
/// the modes' shares wrong.
SamplerOptions held_steps(SamplerOptions options);

/// A step_share for kernels that accept or refuse: noise of sigma bends an energy by W / sigma^2 at most, where a step
/// of sigma^2 / W is near the longest that is mostly accepted, in few dimensions.
constexpr double exact_share = 0.7;

/// Chains of standard normal numbers become the starts of annealed sampling: at the moments, where the options say so,
/// or with the standard deviation `deviation` around 0.
void start_from_noise(const SamplerOptions& options, const NoiseRange& range, double deviation,
                      const EnergiesAt& energies_at, Chains& chains);

/// Noise of their own streams is added to chains, x + sigma n, with sigma broadcast to x: samples become chains of a
/// noise level, from which sample_annealed goes down again.
void add_noise(Chains& chains, const at::Tensor& sigma, std::uint64_t seed);

/// The options of more steps of chains that sampling has moved: the kernel's alone, as long as they were, at the final
/// temperature. Throws UserError where there are none.
SamplerOptions more_steps(SamplerOptions options);

/// Chains of standard normal numbers become samples: they start at the moments, where the options say so, or with the
/// standard deviation `deviation` around 0; then sample_annealed.
void sample_from_noise(const SamplerOptions& options, const NoiseRange& range, double deviation,
                       const EnergiesAt& energies_at, Chains& chains, std::uint64_t seed, const OnStep& on_step = {},
                       const LevelHooks& hooks = {});

/// Moves chains by annealed Langevin dynamics from sigma_max down to sigma_min. They come as samples of the greatest
/// noise: normal, of standard deviation sigma_max / sqrt(W). Guidance is in the energies. Another kernel takes the
/// Langevin steps' place at each level, with the step size of theirs (held_steps).
void sample_annealed(const SamplerOptions& options, const NoiseRange& range, const EnergiesAt& energies_at,
                     Chains& chains, std::uint64_t seed, const OnStep& on_step = {}, const LevelHooks& hooks = {});

}  // namespace igebm::sampling
