#include "igebm/sampling/budget.h"

#include <gtest/gtest.h>

#include "igebm/base/error.h"
#include "tests/refusals.h"

namespace igebm::sampling {
namespace {

TEST(Budget, IsSpentOnLevelsByTheTable) {
  SamplerOptions options{.steps = 8};
  options.annealing = {.levels = 30, .budgets = {1, 100, 300}, .budget_steps = {0, 1, 4}};
  EXPECT_EQ(gradient_count(options, true), 272);  // two of the start
  const auto spent = [&](std::int64_t budget) {
    options.budget = budget;
    const SamplerOptions o = within_budget(options, true);
    EXPECT_EQ(o.budget, 0);
    return std::pair(o.annealing.levels, o.steps);
  };
  EXPECT_EQ(spent(5), std::pair(std::int64_t{5}, std::int64_t{0}));
  EXPECT_EQ(spent(19), std::pair(std::int64_t{19}, std::int64_t{0}));  // too few for moments
  EXPECT_EQ(spent(99), std::pair(std::int64_t{97}, std::int64_t{0}));
  EXPECT_EQ(spent(100), std::pair(std::int64_t{49}, std::int64_t{1}));
  EXPECT_EQ(spent(1000), std::pair(std::int64_t{199}, std::int64_t{4}));
}

// Never more than asked for, and less only by a part of a level.
TEST(Budget, IsKeptWhateverTheSampler) {
  for (const double guidance : {1.0, 2.5}) {
    for (const bool predictor : {false, true}) {
      for (const bool denoise : {false, true}) {
        for (std::int64_t budget = 5; budget < 10000; budget += 1 + budget / 7) {
          SamplerOptions o{.budget = budget};
          o.annealing.guidance = guidance, o.annealing.predictor = predictor, o.annealing.denoise = denoise;
          const std::int64_t spent = gradient_count(o, true), level = within_budget(o, true).steps + 1;
          EXPECT_LE(spent, budget);
          EXPECT_GT(spent, budget - (guidance == 1 ? 1 : 2) * level - (guidance == 1 ? 0 : 1)) << budget;
        }
      }
    }
  }
}

TEST(Budget, IsOfFlowAndKernelWithoutNoiseLevels) {
  SamplerOptions o{.flow = {10, FlowMethod::heun}, .steps = 60, .budget = 100};
  EXPECT_EQ(within_budget(o, false).steps, 80);
  EXPECT_EQ(step_count(o, false), 90);
  o.kernel = "hmc";
  o.hmc.leapfrog_steps = 7;
  EXPECT_EQ(within_budget(o, false).steps, 11);
  EXPECT_EQ(gradient_count(o, false), 97);
  o.budget = 6;
  EXPECT_EQ(within_budget(o, false).flow.steps, 3);
  EXPECT_EQ(within_budget(o, false).steps, 0);
  o.steps = 0, o.budget = 41;  // the flow alone makes samples
  EXPECT_EQ(within_budget(o, false).flow.steps, 20);
  o.budget = 1;
  EXPECT_SAYS(within_budget(o, false), "too few");
  SamplerOptions guided{.budget = 1};
  guided.annealing.guidance = 2;
  EXPECT_SAYS(within_budget(guided, true), "too few");
  SamplerOptions table{.budget = 100};
  for (const std::vector<std::int64_t>& budgets : {std::vector<std::int64_t>{1}, {200, 1}, {1, 2, 3}}) {
    table.annealing.budgets = budgets;
    EXPECT_SAYS(within_budget(table, true), "sampling.budgets: expected as many numbers");
    EXPECT_NO_THROW(within_budget(table, false));
  }
}

}  // namespace
}  // namespace igebm::sampling
