// Elements that are fixed: no kernel may change a bit of them, on any path.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "igebm/energy/analytic.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/flow.h"
#include "igebm/sampling/registry.h"
#include "tests/sampling/plain.h"

namespace igebm::sampling {
namespace {

constexpr std::int64_t element_count = 40;

struct Case {
  std::string name;
  std::unique_ptr<Kernel> kernel;
};

/// All kernels, with bounds that fixed elements lie beyond.
std::vector<Case> cases() {
  std::vector<Case> all;
  const LangevinOptions langevin{.step_size = 0.02, .noise = -1, .low = -1.5, .high = 1.5};
  LangevinOptions first = langevin, quiet = langevin;
  first.noise_first = true;
  quiet.noise = 0;
  for (const KernelEntry& entry : kernels()) all.push_back({entry.name, entry.make({.langevin = langevin}, 3)});
  all.push_back({"noise first", std::make_unique<Langevin>(first, 3)});
  all.push_back({"without noise", std::make_unique<Langevin>(quiet, 3)});
  all.push_back({"euler", std::make_unique<Flow>(FlowOptions{8, FlowMethod::euler})});
  all.push_back({"heun", std::make_unique<Flow>(FlowOptions{8, FlowMethod::heun})});
  return all;
}

/// 300 chains: several blocks of the loop without tensors. Fixed are one in three elements, of each chain others,
/// beyond the bounds and with a zero's sign to lose.
Chains partly_fixed() {
  Chains chains = start_chains({Start::normal}, {element_count}, 300, 0, {}, 5);
  chains.x.mul_(0.5);
  chains.fixed = at::arange(300 * element_count).reshape({300, element_count}).remainder(3).eq(0);
  chains.x = at::where(chains.fixed, chains.x * 20, chains.x);
  chains.x.masked_fill_(chains.fixed.logical_and(at::arange(element_count).lt(9)), -0.0);
  return chains;
}

at::Tensor bits(const at::Tensor& x) { return x.view(at::kInt); }

void expect_held(const Chains& moved, const at::Tensor& before, const std::string& name) {
  const at::Tensor changed = bits(moved.x).ne(bits(before)), fixed = moved.fixed_elements();
  EXPECT_FALSE(changed.logical_and(fixed).any().item<bool>()) << name;
  // Of the free ones all but a few, which stand at a bound.
  EXPECT_GT(changed.logical_or(fixed).to(at::kDouble).mean().item<double>(), 0.8) << name;
}

TEST(Fixed, StaysBitForBitUnderEveryKernel) {
  const auto well = std::make_shared<energy::Gaussian>(at::full({element_count}, 0.3), at::eye(element_count));
  const auto double_well = std::make_shared<energy::DoubleWell>(element_count, 0.001);
  for (const Case& each : cases()) {
    for (const auto& energy : {energy::EnergyPtr(well), energy::EnergyPtr(double_well),
                               energy::EnergyPtr(std::make_shared<Plain>(*double_well))}) {
      Chains chains = partly_fixed();
      const at::Tensor before = chains.x.clone();
      each.kernel->transitions(*energy, chains, {0, 8}, 8);
      expect_held(chains, before, each.name);
    }
  }
}

// A mask for all chains alike is the same mask.
TEST(Fixed, AMaskMayBeSharedByAllChains) {
  const energy::DoubleWell well(element_count, 0.01);
  const at::Tensor mask = at::arange(element_count).remainder(2).eq(0);
  for (const Case& each : cases()) {
    Chains shared = partly_fixed(), own = partly_fixed();
    shared.fixed = mask;
    own.fixed = mask.expand({300, element_count}).clone();
    each.kernel->transitions(well, shared, {0, 8}, 8);
    each.kernel->transitions(well, own, {0, 8}, 8);
    EXPECT_TRUE(at::equal(shared.x, own.x)) << each.name;
  }
}

// A mask moves the others as the energy of those alone does (energy::Masked), to rounding: the fixed ones' values
// count, and their gradients and noise do not, in no figure.
TEST(Fixed, OthersMoveAsUnderTheEnergyConditionedOnThem) {
  const at::Tensor factor = at::eye(4) + 0.4 * at::ones({4, 4});
  const auto gaussian = std::make_shared<energy::Gaussian>(at::ones({4}), at::matmul(factor, factor));
  const at::Tensor fixed = at::tensor({1, 0, 0, 1}).to(at::kBool), values = at::tensor({3.0F, 0.0F, 0.0F, -2.0F});
  const energy::Masked conditioned(gaussian, fixed.logical_not(), values);
  for (const Case& each : cases()) {
    Chains masked = start_chains({Start::uniform, -1, 1}, {4}, 50, 0, {}, 5), plain = masked.select(at::arange(50));
    masked.fixed = fixed;
    masked.x = at::where(fixed, values, masked.x);
    const StepInfo a = each.kernel->transitions(*gaussian, masked, {0, 8}, 8),
                   b = each.kernel->transitions(conditioned, plain, {0, 8}, 8);
    EXPECT_TRUE(at::allclose(masked.x.slice(1, 1, 3), plain.x.slice(1, 1, 3), 1e-4, 1e-4)) << each.name;
    EXPECT_NEAR(a.energy, b.energy, 1e-4 * (1 + std::abs(b.energy))) << each.name;
    EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-4 * (1 + b.gradient_norm)) << each.name;
  }
}

TEST(Fixed, StaysUnderAnnealingsNoisePredictorAndDenoising) {
  for (const std::int64_t steps : {0, 3}) {
    SamplerOptions options{.steps = steps};
    options.annealing = {.levels = 5, .step_share = 0.05};
    Chains chains = partly_fixed();
    const at::Tensor before = chains.x.clone();
    sample_annealed(
        options, {0.1, 4},
        [](double sigma) {
          const auto cloud = std::make_shared<energy::Gaussian>(at::ones({element_count}),
                                                                (0.25 + sigma * sigma) * at::eye(element_count));
          return std::vector<energy::EnergyPtr>{cloud};
        },
        chains, 9);
    expect_held(chains, before, "annealed");
  }
}

TEST(Fixed, TheGradientPointIsWithoutNoiseThere) {
  Chains chains = partly_fixed();
  const Langevin langevin({.step_size = 0.1, .noise = 0.5, .noise_first = true}, 3);
  const at::Tensor point = langevin.gradient_point(chains, {0, 1});
  EXPECT_TRUE(at::equal(point.ne(chains.x), chains.fixed.logical_not()));
}

}  // namespace
}  // namespace igebm::sampling
