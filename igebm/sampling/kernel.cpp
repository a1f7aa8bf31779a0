#include "igebm/sampling/kernel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

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

StepInfo summarise(std::vector<ChainInfo> chains, std::int64_t elements) {
  StepInfo info;
  double energy = 0, square = 0;
  std::int64_t clipped = 0, accepted = 0;
  for (const ChainInfo& chain : chains) {
    info.non_finite += chain.finite ? 0 : 1;
    energy += chain.energy;
    square += chain.gradient_square;
    clipped += chain.clipped;
    accepted += chain.finite && chain.accepted ? 1 : 0;
  }
  const std::int64_t finite = static_cast<std::int64_t>(chains.size()) - info.non_finite;
  const auto good = static_cast<double>(std::max<std::int64_t>(finite, 1));
  info.energy = energy / good;
  info.gradient_norm = std::sqrt(square / good);
  info.clipped_share = static_cast<double>(clipped) / std::max(1.0, good * static_cast<double>(elements));
  info.accepted_share = finite > 0 ? static_cast<double>(accepted) / good : 1;
  info.chains = std::move(chains);
  return info;
}

StepInfo summarise(const at::Tensor& energies, const at::Tensor& squares, const at::Tensor& finite,
                   std::int64_t elements) {
  const at::Tensor of_e = energies.to(at::kFloat).cpu().contiguous(), of_g = squares.cpu().contiguous(),
                   good = finite.cpu().contiguous();
  std::vector<ChainInfo> chains(static_cast<std::size_t>(good.size(0)));
  for (std::size_t i = 0; i < chains.size(); ++i) {
    if (good.const_data_ptr<bool>()[i]) {
      chains[i] = {.gradient_square = of_g.const_data_ptr<double>()[i], .energy = of_e.const_data_ptr<float>()[i]};
    } else {
      chains[i] = {.finite = false, .accepted = false};
    }
  }
  return summarise(std::move(chains), elements);
}

StepInfo Kernel::transitions(const energy::Energy& energy, Chains& chains, Position first, std::int64_t steps) const {
  return one_by_one(*this, energy, chains, first, steps, {});
}

StepInfo run(const Kernel& kernel, const energy::Energy& energy, Chains& chains, std::int64_t steps,
             const OnStep& on_step) {
  chains.energy.forget();
  return on_step ? one_by_one(kernel, energy, chains, {0, steps}, steps, on_step)
                 : kernel.transitions(energy, chains, {0, steps}, steps);
}

}  // namespace igebm::sampling
