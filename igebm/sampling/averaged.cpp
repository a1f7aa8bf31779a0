#include "igebm/sampling/averaged.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"

namespace igebm::sampling {
namespace {

/// n_k + n_{k+1} of each chain, of x's shape; at a run's first step sqrt(3) n + n_{k+1}, where n is no other step's.
at::Tensor two_noises(const Chains& chains, bool first, std::uint64_t seed) {
  const at::Tensor before = first ? normals_of(chains, seed, Purpose::langevin_noise) * std::sqrt(3.0)
                                  : normals_of(chains, seed, Purpose::averaged_noise);
  return before + normals_of(chains, seed, Purpose::averaged_noise, 1);
}

}  // namespace

AveragedLangevin::AveragedLangevin(double step_size, std::uint64_t seed, double temperature)
    : step_size_(step_size), noise_(std::sqrt(step_size * temperature / 2)), seed_(seed) {
  if (!(step_size > 0 && std::isfinite(step_size)))
    throw UserError(fmt::format("averaged Langevin: step_size must be above 0, got {}", step_size));
}

StepInfo AveragedLangevin::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  const std::int64_t count = chains.size();
  if (count == 0 || chains.x.numel() == 0) return {};
  const auto [e, g] = energy.energy_and_gradient(chains.x);
  const at::Tensor squares = g.to(at::kDouble).square().flatten(1).sum(1),
                   finite = e.isfinite().logical_and(squares.isfinite());
  std::vector<std::int64_t> rows(static_cast<std::size_t>(g.dim()), 1);
  rows[0] = count;
  const bool first = position.step == 0 && position.total > 1;
  const at::Tensor moved = chains.x - step_size_ * g + noise_ * two_noises(chains, first, seed_);
  chains.x = chains.held(at::where(finite.reshape(rows), moved, chains.x));
  chains.steps.add_(1);
  chains.energy.forget();
  return summarise(e, squares, finite, chains.x.numel() / count);
}

}  // namespace igebm::sampling
