#include "igebm/sampling/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/sampling/registry.h"

namespace igebm::sampling {
namespace {

std::int64_t gradients_of_flow_step(const SamplerOptions& o) { return o.flow.method == FlowMethod::heun ? 2 : 1; }

std::int64_t gradients_of_step(const SamplerOptions& o) {
  const KernelEntry& kernel = find_kernel(o.kernel);
  return kernel.gradients != nullptr ? kernel.gradients(o) : 1;
}

std::int64_t gradients_of_guidance(const SamplerOptions& o) { return o.annealing.guidance == 1 ? 1 : 2; }

constexpr std::int64_t fewest_with_moments = 20;  // of fewer gradients, two more levels are worth more

std::int64_t gradients_of_start(const AnnealingOptions& a) { return a.moments ? 2 : 0; }

/// Levels and steps for `gradients` of them.
void spend_on_levels(SamplerOptions& o, std::int64_t gradients) {
  AnnealingOptions& a = o.annealing;
  o.steps = 0;
  for (std::size_t i = 0; i < a.budgets.size() && a.budgets[i] <= gradients; ++i) o.steps = a.budget_steps[i];
  a.moments = a.moments && gradients >= fewest_with_moments;
  gradients -= gradients_of_start(a);
  if (!a.predictor) o.steps = std::max<std::int64_t>(o.steps, 1);
  const std::int64_t descent = a.predictor ? 1 : 0, last = a.denoise ? 1 : 0;
  // L levels take L steps + (L - 1) descent + last.
  a.levels = std::max<std::int64_t>(1, (gradients + descent - last) / (o.steps * gradients_of_step(o) + descent));
}

void spend_on_steps(SamplerOptions& o, std::int64_t gradients) {
  const std::int64_t of_flow = gradients_of_flow_step(o), most = gradients / of_flow;
  if (o.steps == 0) {  // the flow alone makes samples
    o.flow.steps = most;
    return;
  }
  o.flow.steps = std::min(o.flow.steps, most);
  o.steps = (gradients - o.flow.steps * of_flow) / gradients_of_step(o);
}

/// The same options with the budget spent.
SamplerOptions spent(SamplerOptions o, bool annealed) {
  const std::int64_t budget = std::exchange(o.budget, 0);
  if (annealed) {
    spend_on_levels(o, budget / gradients_of_guidance(o));
  } else {
    spend_on_steps(o, budget);
  }
  return o;
}

}  // namespace

std::int64_t gradient_count(const SamplerOptions& options, bool annealed) {
  const SamplerOptions o = within_budget(options, annealed);
  if (annealed) {
    const std::int64_t more = (gradients_of_step(o) - 1) * o.annealing.levels * o.steps;
    return gradients_of_guidance(o) * (step_count(o, true) + more + gradients_of_start(o.annealing));
  }
  return o.flow.steps * gradients_of_flow_step(o) + o.steps * gradients_of_step(o);
}

std::string table_problem(const AnnealingOptions& a) {
  if (a.budgets.size() == a.budget_steps.size() && std::ranges::is_sorted(a.budgets)) return {};
  return "expected as many numbers as budget_steps has, from the least to the greatest";
}

std::string budget_problem(const SamplerOptions& options, bool annealed) {
  if (options.budget == 0) return {};
  const SamplerOptions o = spent(options, annealed);
  if (gradient_count(o, annealed) <= options.budget && step_count(o, annealed) > 0) return {};
  return fmt::format("{} gradients are too few for a step of this sampler", options.budget);
}

SamplerOptions within_budget(const SamplerOptions& options, bool annealed) {
  if (options.budget == 0) return options;
  if (const std::string problem = table_problem(options.annealing); annealed && !problem.empty())
    throw UserError("sampling.budgets: " + problem);
  if (const std::string problem = budget_problem(options, annealed); !problem.empty())
    throw UserError("sampling.budget: " + problem);
  return spent(options, annealed);
}

}  // namespace igebm::sampling
