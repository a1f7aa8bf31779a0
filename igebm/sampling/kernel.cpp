#include "igebm/sampling/kernel.h"

namespace igebm::sampling {
namespace {

StepInfo one_by_one(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
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

}  // namespace

StepInfo Kernel::transitions(const energy::Energy& energy, Chains& chains, std::int64_t steps) const {
  return one_by_one(*this, energy, chains, steps, {});
}

StepInfo run(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
             const OnStep& on_step) {
  return on_step ? one_by_one(kernel, energy, chains, steps, on_step) : kernel.transitions(energy, chains, steps);
}

}  // namespace igebm::sampling
