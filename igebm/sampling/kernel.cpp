#include "igebm/sampling/kernel.h"

namespace igebm::sampling {
namespace {

StepInfo one_by_one(const Kernel& kernel, const energy::Energy& energy, Chains& chains, Position first,
                    std::int64_t steps, const OnStep& on_step) {
  StepInfo info;
  std::int64_t non_finite = 0;
  for (std::int64_t k = 0; k < steps; ++k) {
    const Position position{first.step + k, first.total};
    info = kernel.transition(energy, chains, position);
    non_finite += info.non_finite;
    if (on_step) on_step(position, info, chains);
  }
  info.non_finite = non_finite;
  return info;
}

}  // namespace

StepInfo Kernel::transitions(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const {
  return one_by_one(*this, energy, chains, first, steps, {});
}

StepInfo run(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
             const OnStep& on_step) {
  return on_step ? one_by_one(kernel, energy, chains, {0, steps}, steps, on_step)
                 : kernel.transitions(energy, chains, {0, steps}, steps);
}

}  // namespace igebm::sampling
