#include "igebm/sampling/describe.h"

#include <gtest/gtest.h>

#include "igebm/sampling/registry.h"
#include "tests/refusals.h"

namespace igebm::sampling {
namespace {

SamplerOptions read(const std::string& text, bool annealed = false) {
  SamplerOptions options;
  io::Recipe::parse(text, "recipe.toml").apply([&](io::Fields& f) {
    f.section("sampling", [&](io::Fields& g) { describe(g, options, annealed); });
  });
  return options;
}

std::string written(SamplerOptions options) {
  return io::write_recipe(
      [&](io::Fields& f) { f.section("sampling", [&](io::Fields& g) { describe(g, options, false); }); });
}

TEST(DescribedSampler, AKernelIsChosenByItsNameAndHasASectionOfItsOwn) {
  EXPECT_EQ(read("").kernel, "langevin");
  const SamplerOptions hmc = read(
      "[sampling]\nkernel = \"hmc\"\nnoise = -1\n[sampling.hmc]\nleapfrog_steps = 4\nacceptance = 0.8\nadapt_share = "
      "0.25\njitter = 0.0\n[sampling.mala]\nacceptance = 0.5\n");
  EXPECT_EQ(hmc.kernel, "hmc");
  EXPECT_EQ(hmc.hmc.leapfrog_steps, 4);
  EXPECT_EQ(hmc.hmc.jitter, 0);
  EXPECT_EQ(hmc.hmc.adaptation.acceptance, 0.8);
  EXPECT_EQ(hmc.hmc.adaptation.share, 0.25);
  EXPECT_EQ(hmc.mala.adaptation.acceptance, 0.5);
  const SamplerOptions again = read(written(hmc));
  EXPECT_EQ(again.kernel, "hmc");
  EXPECT_EQ(again.hmc.leapfrog_steps, 4);
  // A section is written where it counts, with its defaults.
  SamplerOptions mala;
  mala.kernel = "mala";
  EXPECT_NE(written(mala).find("[sampling.mala]"), std::string::npos);
  EXPECT_EQ(written({}).find("[sampling.mala]"), std::string::npos);
}

TEST(DescribedSampler, WhatDoesNotFitAKernelIsSaid) {
  EXPECT_SAYS(read("[sampling]\nkernel = \"nuts\"\n"), "expected one of \"langevin\", \"mala\", \"hmc\", got \"nuts\"");
  EXPECT_SAYS(read("[sampling]\nkernel = \"mala\"\nnoise = 0.0\n"), "recipe.toml:2: ");
  EXPECT_SAYS(read("[sampling]\nkernel = \"mala\"\nnoise = 0.0\n"), "mala: noise must be above 0");
  EXPECT_SAYS(read("[sampling]\nkernel = \"hmc\"\nnoise_first = true\n"), "noise_first");
  EXPECT_SAYS(read("[sampling]\nkernel = \"hmc\"\ntemperature_end = 0.0\n"), "temperature_end must be above 0");
  EXPECT_SAYS(read("[sampling]\n[sampling.mala]\nacceptance = 1.0\n"), "acceptance");
  EXPECT_SAYS(read("[sampling]\nkernel = \"mala\"\n", true), "expected one of \"langevin\", got");
  EXPECT_NO_THROW(read("[sampling]\nkernel = \"langevin\"\nnoise = 0.0\nnoise_first = true\n"));
  EXPECT_SAYS(find_kernel("nuts"), "sampling.kernel: expected \"langevin\", \"mala\", \"hmc\", got \"nuts\"");
}

}  // namespace
}  // namespace igebm::sampling
