#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "igebm/energy/energy.h"
#include "igebm/sampling/chains.h"

namespace igebm::sampling {

/// What a step did to one chain.
struct ChainInfo {
  double gradient_square = 0;  ///< |dE/dx|^2 where the step took its gradient, before clipping; 0 if not finite
  float energy = 0;            ///< there; 0 if not finite
  std::int32_t clipped = 0;    ///< of the gradient's elements
  bool finite = true;          ///< were energy and gradient? A chain of which they were not stays where it is
  bool accepted = true;        ///< did it take the step? Only kernels that propose and compare may refuse a finite one

  double gradient_norm() const { return std::sqrt(gradient_square); }
};

/// What a step did, over all chains that are finite, and to each.
struct StepInfo {
  double energy = 0;              ///< mean, before the step
  double gradient_norm = 0;       ///< root mean square over chains of |dE/dx|, before clipping
  double clipped_share = 0;       ///< of the gradient's elements
  std::int64_t non_finite = 0;    ///< chains whose energy or gradient is not a finite number; they stay where they are
  double accepted_share = 1;      ///< of the finite chains
  bool proposes = false;          ///< may the kernel refuse a step?
  std::vector<ChainInfo> chains;  ///< in their order; of several steps in a row, of the last
};

/// The figures over chains of `elements` numbers each, summed in the chains' order, so that they do not depend on the
/// number of threads.
StepInfo summarise(std::vector<ChainInfo> chains, std::int64_t elements);
/// The same of energies (N), squares of gradients (N) double, and which chains moved (N) bool, as their energies and
/// gradients were finite; of no account of the others.
StepInfo summarise(const at::Tensor& energies, const at::Tensor& squares, const at::Tensor& finite,
                   std::int64_t elements);

/// Where in a run of `total` steps a step is, for what is annealed.
struct Position {
  std::int64_t step = 0, total = 1;
};

/// A transition kernel: moves every chain once, but for elements that are fixed (Chains::fixed), which it leaves bit
/// for bit as they are. Holds options and the seed, no state: that is the chains'.
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
