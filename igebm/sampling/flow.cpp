#include "igebm/sampling/flow.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

namespace igebm::sampling {

StepInfo Flow::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  const double h = 1.0 / static_cast<double>(position.total);
  const auto [e, g] = energy.energy_and_gradient(chains.x);
  at::Tensor slope = g, known = e.isfinite();
  if (options_.method == FlowMethod::heun) {
    const auto [e_end, g_end] = energy.energy_and_gradient(chains.held(chains.x - h * g));
    slope = 0.5 * (g + g_end);
    known = known.logical_and(e_end.isfinite());
  }
  // What a gradient spoils, the step's end shows.
  const at::Tensor end = chains.held(chains.x - h * slope);
  const at::Tensor bad = known.logical_and(end.flatten(1).isfinite().all(1)).logical_not();
  std::vector<std::int64_t> column(static_cast<std::size_t>(g.dim()), 1);
  column[0] = g.size(0);
  const at::Tensor bad_rows = bad.reshape(column);
  chains.x = at::where(bad_rows, chains.x, end);
  const at::Tensor free = chains.fixed.defined() ? g.masked_fill(chains.fixed, 0) : g;
  const at::Tensor squares = free.masked_fill(bad_rows, 0).to(at::kDouble).square().flatten(1).sum(1);
  return summarise(e, squares, bad.logical_not(), g.size(0) > 0 ? g.numel() / g.size(0) : 0);
}

}  // namespace igebm::sampling
