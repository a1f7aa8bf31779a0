#include "igebm/sampling/flow.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"

namespace igebm::sampling {

Flow::Flow(const FlowOptions& options) : options_(options) {
  if (options.method != "euler" && options.method != "heun") {
    throw UserError(fmt::format("flow: method must be \"euler\" or \"heun\", got \"{}\"", options.method));
  }
}

StepInfo Flow::transition(const energy::Energy& energy, Chains& chains, Position position) const {
  const double h = 1.0 / static_cast<double>(position.total);
  const auto [e, g] = energy.energy_and_gradient(chains.x);
  const at::Tensor bad = e.isfinite().logical_and(g.flatten(1).isfinite().all(1)).logical_not();
  at::Tensor slope = g;
  if (options_.method == "heun") slope = 0.5 * (g + energy.energy_and_gradient(chains.x - h * g).gradient);
  std::vector<std::int64_t> column(static_cast<std::size_t>(g.dim()), 1);
  column[0] = g.size(0);
  chains.x = at::where(bad.reshape(column), chains.x, chains.x - h * slope);
  StepInfo info;
  info.non_finite = bad.sum().item<std::int64_t>();
  info.energy = e.mean().item<double>();
  info.gradient_norm = std::sqrt(g.square().sum().item<double>() / static_cast<double>(g.size(0)));
  return info;
}

}  // namespace igebm::sampling
