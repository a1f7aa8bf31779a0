#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/energy/energy.h"
#include "igebm/model/noise.h"
#include "igebm/scoring/separation.h"

/// log Z = log of the integral of exp(-E(x)), of any energy, by annealed importance sampling (Neal 2001): chains of a
/// law whose Z is known are led to the energy's through laws between. Forwards the estimate is below log Z in
/// expectation; backwards from exact samples of the energy's law it is above (Grosse et al. 2015).
namespace igebm::scoring {

/// Laws p(x, t) proportional to exp(-E(x, t)), t from 0 to 1: from one that is known to the target.
struct AnnealedPath {
  std::vector<std::int64_t> shape;                              ///< of one record
  std::function<energy::EnergyPtr(double t)> energy;            ///< takes x on `device`
  double log_z = 0;                                             ///< of t = 0
  std::function<at::Tensor(std::int64_t, std::uint64_t)> base;  ///< (count, seed): exact samples of t = 0, float
  double unit = 1;                                              ///< the target's x is the path's at t = 1 divided by it
  c10::Device device = c10::Device(c10::DeviceType::CPU);
};

/// E(x, t) = t E(x) + (1 - t) |x|^2 / 2 deviation^2: geometric, from N(0, deviation^2 I).
AnnealedPath geometric_path(energy::EnergyPtr target, const std::vector<std::int64_t>& shape, double deviation,
                            c10::Device device = c10::Device(c10::DeviceType::CPU));

using EnergyAt = std::function<energy::EnergyPtr(double sigma)>;

/// Through the noise levels of E(y, sigma), from sigma_max to `sigma`, in log sigma. The path's x is c y, c = (sigma^2
/// + sigma_data^2)^-1/2, which has unit size at every level, so that it need not shrink; E has d log c more, and log Z
/// is the target's. A first share of t leads from N(0, I) to the greatest noise.
AnnealedPath noise_path(const EnergyAt& energy, const model::NoiseScale& scale, double sigma,
                        const std::vector<std::int64_t>& shape, c10::Device device = c10::Device(c10::DeviceType::CPU));

struct AnnealedOptions {
  std::int64_t levels = 1000;  ///< after t = 0: energies that chains are led through
  std::int64_t leapfrog = 3;   ///< of Hamiltonian Monte Carlo, one transition a level; 1: MALA
  std::int64_t chains = 64;
  std::int64_t batch = 64;  ///< chains moved together
  std::int64_t pilot_chains = 16, pilot_levels = 60;
  std::int64_t draws = 1000;  ///< of the bootstrap over chains
  std::uint64_t seed = 0;
};

/// What chains that go ahead have learned. As the others do not change it, their estimates stay unbiased.
struct AnnealedSchedule {
  std::vector<double> t;         ///< levels + 1, from 0 to 1: closer where energies change more, in standard deviations
  std::vector<double> log_step;  ///< of HMC's step size at each, for an acceptance of .65 (MALA: .57)
};
AnnealedSchedule learn_schedule(const AnnealedPath& path, const AnnealedOptions& options,
                                const Progress& progress = {});

struct AnnealedEstimate {
  at::Tensor log_weights;  ///< (N) double: each chain's estimate of log Z; forwards E exp(w) = Z, backwards E exp(-w) =
                           ///< 1 / Z
  Interval log_z;          ///< log mean exp(w), or -log mean exp(-w)
  double effective = 0;    ///< chains that the weights are worth: (sum)^2 / sum of squares
  double accepted = 0;     ///< of HMC's proposals
  std::int64_t gradients = 0;  ///< of E that a chain has taken
  at::Tensor x;                ///< (N, ...): where chains end; forwards, weighted, samples of the target
};

/// From exact samples of the base. Throws UserError where an energy is not a number.
AnnealedEstimate annealed_forwards(const AnnealedPath& path, const AnnealedSchedule& schedule,
                                   const AnnealedOptions& options, const Progress& progress = {});

/// From x (N, ...), samples of the target, on the CPU; N chains. Of others -E(x) - w is, in expectation, below the log
/// density at x of what forward chains end as (RAISE, Burda et al. 2015), and log_z bounds nothing.
AnnealedEstimate annealed_backwards(const AnnealedPath& path, const AnnealedSchedule& schedule, const at::Tensor& x,
                                    const AnnealedOptions& options, const Progress& progress = {});

}  // namespace igebm::scoring
