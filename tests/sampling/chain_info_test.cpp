// What kernels say of each chain.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "igebm/energy/analytic.h"
#include "igebm/sampling/flow.h"
#include "igebm/sampling/langevin.h"
#include "tests/sampling/plain.h"

namespace igebm::sampling {
namespace {

// The last step's energy and gradient are those at the chain's place before it, in the chains' order: 300 chains are
// several blocks of the loop without tensors.
TEST(ChainInfo, TellsEachChainsEnergyAndGradientBeforeTheLastStep) {
  const energy::DoubleWell well(40, 0.05);
  const Plain plain(well);
  const Langevin langevin({.step_size = 0.01, .noise = 0.1, .gradient_clip = 0.2}, 3);
  const Flow flow({6, FlowMethod::heun});
  for (const auto& [kernel, energy] :
       {std::pair<const Kernel*, const energy::Energy*>{&langevin, &well}, {&langevin, &plain}, {&flow, &plain}}) {
    Chains chains = start_chains({Start::normal}, {40}, 300, 0, {}, 5);
    chains.x[7][3] = NAN;
    chains.x[290][0] = NAN;
    kernel->transitions(*energy, chains, {0, 6}, 5);
    const auto [e, g] = well.energy_and_gradient(chains.x);
    const StepInfo info = kernel->transitions(*energy, chains, {5, 6}, 1);
    ASSERT_EQ(info.chains.size(), 300U);
    EXPECT_EQ(info.non_finite, 2);
    EXPECT_EQ(info.accepted_share, 1);
    for (std::int64_t i = 0; i < 300; ++i) {
      const ChainInfo& chain = info.chains[static_cast<std::size_t>(i)];
      const bool good = i != 7 && i != 290;
      EXPECT_EQ(chain.finite, good) << i;
      EXPECT_EQ(chain.accepted, good) << i;
      const double energy_there = good ? e[i].item<double>() : 0, norm = good ? g[i].norm().item<double>() : 0;
      EXPECT_NEAR(chain.energy, energy_there, 1e-4 * (1 + energy_there)) << i;
      EXPECT_NEAR(chain.gradient_norm(), norm, 1e-4 * (1 + norm)) << i;
      const bool clips = good && kernel == &langevin;
      EXPECT_EQ(chain.clipped, clips ? g[i].abs().gt(0.2F).sum().item<std::int64_t>() : 0) << i;
    }
  }
}

// In a run of several steps, too, and the summary is that of the chains.
TEST(ChainInfo, OfARunIsTheLastStepsAndSumsToTheSummary) {
  const energy::DoubleWell well(2, 0.5);
  const Langevin langevin({.step_size = 0.01, .noise = 0.1}, 3);
  Chains whole = start_chains({Start::normal}, {2}, 3000, 0, {}, 5), steps = whole.select(at::arange(3000));
  const StepInfo info = run(langevin, well, whole, 4);
  StepInfo last;
  run(langevin, well, steps, 4, [&](Position, const StepInfo& now, const Chains&) { last = now; });
  ASSERT_EQ(info.chains.size(), 3000U);
  double energy = 0, square = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    EXPECT_EQ(info.chains[i].energy, last.chains[i].energy) << i;
    EXPECT_EQ(info.chains[i].gradient_square, last.chains[i].gradient_square) << i;
    energy += info.chains[i].energy / 3000;
    square += info.chains[i].gradient_square / 3000;
  }
  EXPECT_NEAR(info.energy, energy, 1e-9);
  EXPECT_NEAR(info.gradient_norm, std::sqrt(square), 1e-9);
}

}  // namespace
}  // namespace igebm::sampling
