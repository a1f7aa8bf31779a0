#pragma once

#include <functional>
#include <vector>

#include "igebm/energy/energy.h"
#include "igebm/sampling/chains.h"

namespace igebm::sampling {

/// What a step did, over all chains that are finite.
struct StepInfo {
  double energy = 0;            ///< mean, before the step
  double gradient_norm = 0;     ///< root mean square over chains of |dE/dx|, before clipping
  double clipped_share = 0;     ///< of the gradient's elements
  std::int64_t non_finite = 0;  ///< chains whose energy or gradient is not a finite number; they stay where they are
};

/// Where in a run of `total` steps a step is, for what is annealed.
struct Position {
  std::int64_t step = 0, total = 1;
};

/// A transition kernel: moves every chain once. Holds options and the seed, no state: that is the chains'.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const = 0;
  /// `steps` steps of a run in a row, from `first` on; the last one's info, with non_finite of all. For kernels that
  /// can do it faster.
  virtual StepInfo transitions(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const;
};

using OnStep = std::function<void(Position, const StepInfo&, const Chains&)>;

/// `steps` transitions; returns the last one's info (non_finite: the sum over all). Chains are moved in place.
StepInfo run(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
             const OnStep& on_step = {});

}  // namespace igebm::sampling
