#pragma once

#include <array>
#include <cstdint>

#include "igebm/base/enums.h"
#include "igebm/sampling/kernel.h"

namespace igebm::sampling {

enum class FlowMethod {
  euler,
  heun,  ///< two gradients a step
};
inline constexpr std::array flow_method_names = {"euler", "heun"};
constexpr const auto& names_of(FlowMethod) { return flow_method_names; }

/// Energy matching's transport (Balcerak et al. 2025): dx/dt = -dE/dx from noise at t = 0 to data at t = 1.
struct FlowOptions {
  std::int64_t steps = 20;  ///< of size 1 / steps each
  FlowMethod method = FlowMethod::euler;
};

/// One step of the flow, of size 1 / position.total. Deterministic; does not advance the chains' noise.
class Flow : public Kernel {
 public:
  explicit Flow(const FlowOptions& options) : options_(options) {}
  StepInfo transition(const energy::Energy& energy, Chains& chains, Position position) const override;

 private:
  FlowOptions options_;
};

}  // namespace igebm::sampling
