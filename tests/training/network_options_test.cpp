#include <gtest/gtest.h>

#include <string>

#include "igebm/base/error.h"
#include "igebm/training/recipe.h"

namespace igebm::training {
namespace {

Recipe with_network(const std::string& lines) {
  const bool noisy = lines.find("noise_features") != std::string::npos;
  const auto text =
      "[network]\n" + lines + "\n[phase.train." + (noisy ? "denoising_score_matching" : "energy_matching") + "]\n";
  Recipe recipe;
  io::Recipe::parse(text, "r.toml").apply([&](io::Fields& f) { describe(f, recipe); });
  return recipe;
}

nn::Graph graph_of(const std::string& lines, std::int64_t classes = 0, std::int64_t conditions = 0,
                   const std::vector<std::int64_t>& shape = {1, 64, 64}) {
  return build_graph(with_network(lines).network, shape, classes, conditions);
}

void expect_refused(const std::string& lines, const std::string& what, std::int64_t classes = 0,
                    std::int64_t conditions = 0) {
  try {
    graph_of(lines, classes, conditions);
    ADD_FAILURE() << "no error: " << what;
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
  }
}

TEST(NetworkOptions, ReachTheBuilders) {
  using nn::to_json;
  const std::vector<std::int64_t> picture = {1, 64, 64};
  EXPECT_EQ(
      to_json(graph_of("kind = \"residual\"\nstem = 4\nstem_kernel = 4\nblocks = \"4d 6\"\nactivation = \"silu\"\n"
                       "spectral_norm = false\nattention = true\ndropout = 0.5\nlabels = true",
                       3)),
      to_json(nn::residual({.stem = 4,
                            .stem_kernel = 4,
                            .blocks = "4d 6",
                            .activation = nn::Activation::silu,
                            .spectral_norm = false,
                            .attention = true,
                            .dropout = 0.5},
                           picture, {.classes = 3})));
  EXPECT_EQ(to_json(graph_of("kind = \"strided\"\nstem = 4\nchannels = [6, 8]\ndense = 5\nactivation = \"silu\"\n"
                             "spectral_norm = false\nlabel_planes = false\nconditions = [\"shape\"]",
                             3, 2)),
            to_json(nn::strided({.stem = 4,
                                 .channels = {6, 8},
                                 .dense = 5,
                                 .activation = nn::Activation::silu,
                                 .spectral_norm = false,
                                 .label_planes = false},
                                picture, {.conditions = 2})));
  EXPECT_EQ(
      to_json(graph_of("kind = \"unet\"\nchannels = [4, 6, 8]\nblocks = [1, 2, 1]\npatch = 1\ngroups = 2\n"
                       "attention = true\ndropout = 0.1\nlabels = true\nnoise_features = 8",
                       3)),
      to_json(nn::unet(
          {.channels = {4, 6, 8}, .blocks = {1, 2, 1}, .patch = 1, .groups = 2, .attention = true, .dropout = 0.1},
          picture, {.classes = 3, .noise_features = 8})));
  EXPECT_EQ(to_json(graph_of("kind = \"mlp\"\nwidths = [8]\nconditions = [\"a\"]\nnoise_features = 4", 0, 1, {2})),
            to_json(nn::mlp({{8}}, {2}, {.conditions = 1, .noise_features = 4})));
}

TEST(NetworkOptions, ReadBackAsTheyAreWritten) {
  for (const char* lines : {"kind = \"residual\"\nattention = true\nconditions = [\"size\", \"shape\"]",
                            "kind = \"strided\"\nchannels = [8]\nlabel_planes = false\nlabels = true",
                            "kind = \"unet\"\nchannels = [8, 8, 8]\nblocks = [1, 2, 3]\nnoise_features = 6"}) {
    Recipe recipe = with_network(lines), back;
    const auto text = [](Recipe& r) { return io::write_recipe([&](io::Fields& f) { describe(f, r); }); };
    io::Recipe::parse(text(recipe), "r.toml").apply([&](io::Fields& f) { describe(f, back); });
    EXPECT_EQ(text(back), text(recipe)) << lines;
  }
}

TEST(NetworkOptions, WhatDoesNotFitIsNamed) {
  expect_refused("labels = true", "network.labels: the data have no labels");
  expect_refused("conditions = [\"size\"]", "network.conditions: the data have no conditions", 3);
  expect_refused("labels = true\nconditions = [\"size\"]", "r.toml:3: network.conditions: not together", 3, 1);
  expect_refused("noise_features = 3", "network.noise_features: expected an even number");
  expect_refused("kind = \"classifier\"\nnoise_features = 2", "a classifier is not conditional", 3);
  expect_refused("kind = \"unet\"\nchannels = [8, 8, 8]", "network.blocks: expected as many numbers", 3);
  expect_refused("dropout = 1.0", "network.dropout");
}

TEST(NetworkOptions, TheDemosRecipeIsTheUsualUNet) {
  const Recipe demo = read_recipe(IGEBM_SOURCE_DIR "/recipes/fashion-mnist.toml", {});
  EXPECT_EQ(nn::to_json(build_graph(demo.network, {1, 28, 28}, 10)),
            nn::to_json(nn::unet({}, {1, 28, 28}, {.classes = 10, .noise_features = 32})));
}

}  // namespace
}  // namespace igebm::training
