#include "igebm/sampling/kernel.h"

namespace igebm::sampling {

StepInfo run(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
             const OnStep& on_step) {
  StepInfo info;
  std::int64_t non_finite = 0;
  for (std::int64_t k = 0; k < steps; ++k) {
    info = kernel.transition(energy, chains, {k, steps});
    non_finite += info.non_finite;
    if (on_step) on_step({k, steps}, info, chains);
  }
  info.non_finite = non_finite;
  return info;
}

}  // namespace igebm::sampling
