#include "igebm/sampling/describe.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/ranges.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"

namespace igebm::sampling {

using io::Fields;
using io::Range;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)

void describe(Fields& f, LangevinOptions& o) {
  f.field("step_size", o.step_size, positive, "x <- x - step_size dE/dx + noise n");
  f.field("noise", o.noise, any_float, "standard deviation of a step's noise; negative: sqrt(2 step_size)");
  f.field("gradient_clip", o.gradient_clip, Range{0, infinity, true}, "on each element of dE/dx; inf: none");
  f.field("low", o.low, any, "samples are clamped to [low, high]; -inf: no bound");
  f.field("high", o.high, any, "the upper end of that; inf: no bound");
  for (const auto& [key, bound] : {std::pair("low", o.low), std::pair("high", o.high)}) {
    if (std::isfinite(bound) && !any_float.holds(bound))
      f.problem(key, fmt::format("expected inf, -inf or a number {}, got {}", any_float.text(), bound));
  }
  f.field("temperature_start", o.temperature_start, not_negative, "the noise is multiplied by sqrt(temperature)");
  f.field("temperature_end", o.temperature_end, not_negative, "geometric from start to end over the steps");
  f.field("noise_first", o.noise_first, "add the noise before taking the gradient, as IGEBM's code does");
}

void describe(Fields& f, FlowOptions& o) {
  f.field("flow_steps", o.steps, count_from_zero, "steps along -dE/dx from noise to data before Langevin; 0: none");
  f.field("flow_method", o.method, "Euler's method, or Heun's with two gradients a step");
}

void describe(Fields& f, StartOptions& o) {
  f.field("start", o.start, "where new chains start");
  // So that high - low is a float, too.
  f.field("start_low", o.low, Range{-1e38, 1e38}, "of uniform starts");
  f.field("start_high", o.high, Range{-1e38, 1e38}, "the upper end of that");
}

namespace {

void describe(Fields& f, StepAdaptation& o) {
  f.field("acceptance", o.acceptance, Range{0, 1, true, true}, "share of proposals that step sizes adapt towards");
  f.field("adapt_share", o.share, share, "of the steps, the first ones, in which they adapt; 0: step_size stays");
}

}  // namespace

void describe(Fields& f, MalaOptions& o) { describe(f, o.adaptation); }

void describe(Fields& f, HmcOptions& o) {
  f.field("leapfrog_steps", o.leapfrog_steps, count_from_one, "gradients a step, each sqrt(2 step_size) further");
  f.field("jitter", o.jitter, Range{0, 1, false, true}, "share by which that length varies from step to step");
  describe(f, o.adaptation);
}

void describe(Fields& f, SamplerOptions& o, bool annealed) {
  f.field("kernel", o.kernel, annealed ? std::vector<std::string>{"langevin"} : kernel_names(),
          "what moves chains: Langevin dynamics, or by proposals that are accepted by what they do to the energy: "
          "Metropolis-adjusted Langevin (mala) or Hamiltonian Monte Carlo (hmc)");
  f.field("steps", o.steps, count_from_zero, "of the kernel; at each level, of a network of noise levels");
  f.field("budget", o.budget, count_from_zero,
          "above 0: gradients that a sample may cost, by which levels and steps are chosen instead");
  f.field("time", o.time, not_negative,
          "above 0: step_size = time / steps, so that more steps are finer ones; with noise below 0, or 0");
  f.field("ensemble", o.ensemble, count_from_one,
          "checkpoints, the newest, that take the steps in turn; pictures while training are the newest's alone");
  if (annealed) {
    AnnealingOptions& a = o.annealing;
    f.field("levels", a.levels, count_from_one, "noise levels, from the greatest to the least");
    f.field("rho", a.rho, not_negative,
            "levels evenly spaced in sigma^(1 / rho): the greater, the more of them at little noise; 0: geometric");
    f.field("step_share", a.step_share, positive, "of sigma^2 that is a step's size at a level");
    f.field(
        "averaged", a.averaged,
        "each of those steps' noise with the next one's: right where energies are Gaussian up to a step_share of 1");
    f.field("predictor", a.predictor, "between levels x - (sigma - next sigma) sigma dE/dx, so that few steps do");
    f.field("ancestral", a.ancestral, share,
            "of the predictor: 0 follows the flow; up to 1, the more of each level's noise is drawn anew");
    f.field("order", a.order, Range{1, 2},
            "of the predictor: 2 also goes by what the slope changed by since the level before, so that few levels do; "
            "with "
            "steps = 0");
    f.field("denoise", a.denoise, "at last x - sigma^2 dE/dx, without noise");
    f.field("moments", a.moments,
            "begin with the data's mean and spread, as the energy of the greatest noise tells them, at two gradients "
            "more; not with a budget below 20, or 40 with guidance");
    f.field("guidance", a.guidance, not_negative,
            "chains follow E_none + guidance (E_class - E_none): beyond 1, more of what tells the class; of a network "
            "with label_dropout");
    f.field("budgets", a.budgets, count_from_one, "of the budget: from so many gradients on …");
    f.field("budget_steps", a.budget_steps, count_from_zero, "… so many steps a level, and levels for the rest");
    if (const std::string problem = table_problem(a); !problem.empty()) {
      f.problem("budgets", problem);
    } else if (const std::string too_few = budget_problem(o, true); !too_few.empty()) {
      f.problem("budget", too_few);
    }
    f.field("temperature", o.langevin.temperature_end, not_negative, "the noise is multiplied by its square root");
    return;
  }
  describe(f, o.start);
  describe(f, o.flow);
  describe(f, o.langevin);
  if (o.langevin.low >= o.langevin.high) f.problem("low", "low must be below high");
  if (const std::string problem = time_problem(o); !problem.empty()) f.problem("time", problem);
  // Written where they count, read where they stand.
  bool is_mala = o.kernel == "mala", is_hmc = o.kernel == "hmc";
  f.optional_section("mala", is_mala, [&](Fields& g) { describe(g, o.mala); });
  f.optional_section("hmc", is_hmc, [&](Fields& g) { describe(g, o.hmc); });
  if (const std::string problem = budget_problem(o, false); !problem.empty()) f.problem("budget", problem);
  if (!compares_energies(o.kernel)) return;
  try {
    find_kernel(o.kernel).make(o, 0);
  } catch (const UserError& e) {
    f.problem("kernel", e.what());
  }
}

}  // namespace igebm::sampling
