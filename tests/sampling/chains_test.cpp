#include "igebm/sampling/chains.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"
#include "igebm/sampling/langevin.h"

namespace igebm::sampling {
namespace {

Chains three_numbers(std::int64_t count) { return start_chains({Start::normal}, {3}, count, 0, {}, 5); }

at::Tensor numbers(std::int64_t first, std::int64_t count) { return at::arange(first, first + count, at::kDouble); }

TEST(Chains, KernelStateAndMasksGoWithTheirChains) {
  Chains chains = three_numbers(6);
  chains.state["step"] = numbers(1, 6);
  chains.fixed = at::arange(18).reshape({6, 3}).remainder(4).eq(0);
  const Chains some = chains.select(at::tensor({4, 1}, at::kLong)), part = chains.slice(2, 4);
  EXPECT_TRUE(at::equal(some.state.at("step"), at::tensor({5.0, 2.0}, at::kDouble)));
  EXPECT_TRUE(at::equal(some.fixed[0], chains.fixed[4]));
  EXPECT_TRUE(at::equal(part.state.at("step"), numbers(3, 2)));
  EXPECT_TRUE(at::equal(part.fixed, chains.fixed.slice(0, 2, 4)));
}

// Chains that know nothing of a kernel are where it starts: zeros.
TEST(Chains, ZerosStandForTheStateOfChainsWithout) {
  Chains with = three_numbers(2), without = three_numbers(3);
  with.state["step"] = numbers(1, 2);
  const Chains joined = Chains::join({without, with});
  EXPECT_TRUE(at::equal(joined.state.at("step"), at::tensor({0.0, 0.0, 0.0, 1.0, 2.0}, at::kDouble)));
  EXPECT_FALSE(joined.fixed.defined());

  Chains all = three_numbers(5);
  all.put(at::tensor({4, 0}, at::kLong), with);
  EXPECT_TRUE(at::equal(all.state.at("step"), at::tensor({2.0, 0.0, 0.0, 0.0, 1.0}, at::kDouble)));
  all.put(at::tensor({4, 1, 2}, at::kLong), without);
  EXPECT_TRUE(at::equal(all.state.at("step"), at::tensor({2.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble)));
}

TEST(Chains, MasksAreBroadcastAndJoined) {
  Chains shared = three_numbers(2), none = three_numbers(1);
  shared.fixed = at::tensor({1, 0, 1}).to(at::kBool);
  EXPECT_TRUE(at::equal(shared.fixed_elements(), shared.fixed.expand({2, 3})));
  EXPECT_TRUE(at::equal(shared.select(at::tensor({1}, at::kLong)).fixed, shared.fixed));
  const Chains joined = Chains::join({none, shared});
  EXPECT_TRUE(at::equal(joined.fixed, at::tensor({0, 0, 0, 1, 0, 1, 1, 0, 1}).reshape({3, 3}).to(at::kBool)));
  none.put(at::tensor({0}, at::kLong), shared.slice(0, 1));
  EXPECT_TRUE(at::equal(none.fixed_elements(), shared.fixed.unsqueeze(0)));
  EXPECT_TRUE(at::equal(shared.held(at::full({2, 3}, 7.0F)).ne(7), shared.fixed.expand({2, 3})));
  for (const at::Tensor& bad : {at::zeros({3}), at::zeros({4}, at::kBool), at::zeros({1, 2, 3}, at::kBool)}) {
    shared.fixed = bad;
    EXPECT_THROW(shared.fixed_elements(), UserError);
  }
}

TEST(EnergyCache, HoldsWhileChainsAndEnergyAreTheSame) {
  const energy::Gaussian energy(at::zeros({3}), at::eye(3)), other(at::zeros({3}), at::eye(3));
  Chains chains = three_numbers(4);
  chains.labels = at::zeros({4}, at::kLong);
  const auto keep = [&] { chains.energy.keep(energy, chains.x, chains.labels, energy.energy_and_gradient(chains.x)); };
  const auto known = [&](const energy::Energy& e) { return chains.energy.find(e, chains.x, chains.labels) != nullptr; };
  EXPECT_FALSE(known(energy));
  keep();
  EXPECT_TRUE(known(energy));
  EXPECT_FALSE(known(other));
  chains.x[2][1] = 3;  // through a view
  EXPECT_FALSE(known(energy));
  keep();
  chains.x.data_ptr<float>()[0] = 1;
  chains.touch();
  EXPECT_FALSE(known(energy));
  keep();
  chains.x = chains.x.clone();
  EXPECT_FALSE(known(energy));
  keep();
  chains.labels.fill_(1);
  EXPECT_FALSE(known(energy));
  keep();
  chains.labels = at::Tensor();
  EXPECT_FALSE(known(energy));
  keep();
  EXPECT_TRUE(known(energy));
  EXPECT_EQ(chains.select(at::arange(4)).energy.find(energy, chains.x, chains.labels), nullptr);
  chains.energy.forget();
  EXPECT_FALSE(known(energy));
}

// Kernels write x by pointers, through each of their paths.
TEST(EnergyCache, KernelsThatMoveChainsInvalidateIt) {
  const energy::DoubleWell small(3, 1.0), large(70, 1.0);
  const Langevin langevin({.step_size = 0.01, .noise = 0.1}, 1);
  for (const auto& [energy, elements] : {std::pair<const energy::Energy*, std::int64_t>{&small, 3}, {&large, 70}}) {
    Chains chains = start_chains({Start::normal}, {elements}, 4, 0, {}, 5);
    chains.energy.keep(*energy, chains.x, {}, energy->energy_and_gradient(chains.x));
    Chains shares = chains;
    langevin.transition(*energy, chains, {0, 1});
    EXPECT_EQ(chains.energy.find(*energy, chains.x, {}), nullptr) << elements;
    EXPECT_EQ(shares.energy.find(*energy, shares.x, {}), nullptr) << elements;
  }
}

}  // namespace
}  // namespace igebm::sampling
