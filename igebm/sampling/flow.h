#pragma once

#include <cstdint>
#include <string>

#include "igebm/sampling/kernel.h"

namespace igebm::sampling {

/// Energy matching's transport (Balcerak et al. 2025): dx/dt = -dE/dx from noise at t = 0 to data at t = 1.
struct FlowOptions {
  std::int64_t steps = 20;       ///< of size 1 / steps each
  std::string method = "euler";  ///< "euler", or "heun" (two gradients a step)
};

/// One step of the flow, of size 1 / position.total. Deterministic; does not advance the chains' noise.
class Flow : public Kernel {
 public:
  explicit Flow(const FlowOptions& options);
  StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const override;

 private:
  FlowOptions options_;
};

}  // namespace igebm::sampling
