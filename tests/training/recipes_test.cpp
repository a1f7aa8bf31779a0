#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/recipe.h"
#include "tests/refusals.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> recipes() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(fs::path(IGEBM_SOURCE_DIR) / "recipes")) all.push_back(entry.path());
  return all;
}

struct Known {
  std::vector<std::int64_t> shape;
  std::int64_t classes;
};

/// What the sets hold, so that no data are needed.
Known known(const data::Options& options) {
  static const std::map<std::string, Known> all = {
      {"fashion-mnist", {{1, 28, 28}, 10}}, {"mnist", {{1, 28, 28}, 10}},    {"cifar10", {{3, 32, 32}, 10}},
      {"imagenet-32", {{3, 32, 32}, 1000}}, {"imagenet", {{3, 0, 0}, 1000}}, {"dsprites", {{1, 64, 64}, 3}},
      {"dsprites-drawn", {{1, 64, 64}, 3}}, {"two-moons", {{2}, 2}}};
  Known set = all.at(options.name);
  if (options.size > 0) set.shape[1] = set.shape[2] = options.size;
  return set;
}

/// Every recipe parses, and its network fits its data.
TEST(Recipes, BuildTheirNetworks) {
  EXPECT_GE(recipes().size(), 10);
  for (const auto& path : recipes()) {
    SCOPED_TRACE(path.filename().string());
    const Recipe recipe = read_recipe(path.string(), {});
    ASSERT_NO_THROW(known(recipe.data)) << "say here what " << recipe.data.name << " holds";
    const Known set = known(recipe.data);
    data::Dataset data;
    if (recipe.data.name.starts_with("dsprites")) {
      data::Options drawn{.name = "dsprites-drawn", .count = 2};
      drawn.size = recipe.data.size;
      data = data::load(drawn, data::Split::train, 0);
      EXPECT_EQ(data.shape(), set.shape);
    }
    const auto columns = data.condition_columns(recipe.network.conditions);
    const auto graph = build_graph(recipe.network, set.shape, set.classes, static_cast<std::int64_t>(columns.size()));
    EXPECT_NO_THROW(nn::shapes(graph));
    EXPECT_EQ(graph.input_shape, set.shape);
    EXPECT_EQ(graph.conditional(), recipe.network.labels || !columns.empty() || recipe.network.noise_features > 0);
    // Chains live where the data do.
    const auto inside = [&](double low, double high) {
      return set.shape.size() == 1 || (low <= recipe.data.low && high >= recipe.data.high);
    };
    EXPECT_TRUE(inside(recipe.sampling.langevin.low, recipe.sampling.langevin.high));
    for (const auto& phase : recipe.phases) {
      const auto* cd = phase.objectives.find<ContrastiveDivergenceOptions>();
      EXPECT_TRUE(cd == nullptr || inside(cd->langevin.low, cd->langevin.high)) << phase.name;
    }
  }
}

/// The settings table of Du & Mordatch 2019, with their code's optimiser and Langevin noise.
TEST(Recipes, OfIgebmHaveThePapersValues) {
  struct Row {
    const char* name;
    std::int64_t steps;
    double step_size, gradient_clip;
    std::int64_t batch;
    nn::Activation activation;
    const char* blocks;                  // of a residual network
    std::vector<std::int64_t> channels;  // of a strided one
  };
  const double none = std::numeric_limits<double>::infinity();
  const std::vector<std::int64_t> dsprites = {64, 128, 128, 128};
  for (const Row& row : std::vector<Row>{
           {"cifar10", 60, 10, 0.01, 128, nn::Activation::leaky_relu, "128d 128 128 256d 256 256 512d 512 512", {}},
           {"cifar10-conditional", 60, 10, 0.01, 128, nn::Activation::leaky_relu, "128d 128 256d 256 256d 256", {}},
           {"imagenet32",
            60,
            10,
            0.01,
            32,
            nn::Activation::leaky_relu,
            "256d 256 256 512d 512 512 1024d 1024 1024",
            {}},
           {"imagenet128", 50, 100, none, 16, nn::Activation::silu, "64d 128d 256d 512d 512d 512", {}},
           {"mnist", 60, 10, 0.01, 128, nn::Activation::leaky_relu, "", {64, 128, 256}},
           {"dsprites-size", 20, 500, none, 256, nn::Activation::silu, "", dsprites},
           {"dsprites-shape", 20, 500, none, 256, nn::Activation::silu, "", dsprites},
           {"dsprites-position", 20, 500, none, 256, nn::Activation::silu, "", dsprites},
           {"dsprites-rotation", 20, 500, none, 256, nn::Activation::silu, "", dsprites}}) {
    SCOPED_TRACE(row.name);
    const Recipe recipe =
        read_recipe((fs::path(IGEBM_SOURCE_DIR) / "recipes" / (std::string(row.name) + "-igebm.toml")).string(), {});
    ASSERT_EQ(recipe.phases.size(), 1);
    const PhaseOptions& phase = recipe.phases[0];
    const ContrastiveDivergenceOptions& cd = *phase.objectives.find<ContrastiveDivergenceOptions>();
    EXPECT_EQ(cd.steps, row.steps);
    EXPECT_EQ(cd.langevin.step_size, row.step_size);
    EXPECT_EQ(cd.langevin.gradient_clip, row.gradient_clip);
    EXPECT_EQ(cd.langevin.noise, 0.005);
    EXPECT_TRUE(cd.langevin.noise_first);
    EXPECT_EQ(cd.replay.size, 10000);
    EXPECT_EQ(cd.replay.restart_share, 0.05);
    EXPECT_EQ(cd.energy_l2, 1);
    EXPECT_EQ(phase.batch, row.batch);
    EXPECT_EQ(phase.optimizer.learning_rate, 3e-4);
    EXPECT_EQ(phase.optimizer.beta1, 0);
    EXPECT_EQ(phase.optimizer.beta2, 0.999);
    EXPECT_EQ(phase.optimizer.clip, Clip::second_moment);
    if (row.channels.empty()) {
      EXPECT_EQ(recipe.network.kind, "residual");
      EXPECT_EQ(recipe.network.residual.blocks, row.blocks);
      EXPECT_EQ(recipe.network.residual.activation, row.activation);
    } else {
      EXPECT_EQ(recipe.network.kind, "strided");
      EXPECT_EQ(recipe.network.strided.channels, row.channels);
      EXPECT_EQ(recipe.network.strided.activation, row.activation);
    }
  }
}

TEST(Recipes, PhasesLeftOutOfTheOrderAreCheckedButNotRun) {
  const auto read = [](const std::string& phases, const std::string& second, const std::string& key) {
    Recipe recipe;
    io::Recipe::parse("[train]\nphases = " + phases + "\n[phase.match.energy_matching]\n[phase." + second + "]\n" +
                          key + " = 7\n[phase." + second + ".contrastive_divergence]\n",
                      "r.toml")
        .apply([&](io::Fields& f) { describe(f, recipe); });
    std::string names;
    for (const PhaseOptions& phase : recipe.phases) names += phase.name + std::to_string(phase.steps) + " ";
    return names;
  };
  const auto error = [&](const std::string& phases, const std::string& second, const std::string& key) {
    return error_of([&] { read(phases, second, key); });
  };
  EXPECT_EQ(read("[\"match\"]", "refine", "steps"), "match1000 ");
  EXPECT_EQ(read("[\"refine\", \"match\"]", "refine", "steps"), "refine7 match1000 ");
  EXPECT_EQ(error("[\"match\"]", "refine", "step"),
            "r.toml:5: phase.refine.step: unknown key; did you mean \"steps\"?");
  io::Recipe slip = io::Recipe::parse("[phase.train.energy_matching]\n", "r.toml");
  slip.set("phase.trian.optimizer.warmup=3");
  EXPECT_EQ(error_of([&] {
              Recipe recipe;
              slip.apply([&](io::Fields& f) { describe(f, recipe); });
            }),
            "r.toml: phase.trian: train.phases does not name it; did you mean \"train\"?");
  EXPECT_EQ(error("[\"match\", \"refine\"]", "refin", "steps"),
            "r.toml:3: phase.refine: train.phases names it, but there is no such section; did you mean \"refin\"?");
}

/// docs/recipes.md names each of them, and no other.
TEST(Recipes, AreListed) {
  const std::string text = io::read_file(fs::path(IGEBM_SOURCE_DIR) / "docs" / "recipes.md");
  std::set<std::string> there, listed;
  for (const auto& path : recipes()) there.insert(path.stem());
  const std::string end = ".toml`";
  for (std::size_t at = 0; (at = text.find(end, at)) != std::string::npos; at += end.size()) {
    const std::size_t before = text.rfind('`', at - 1);
    const std::string stem = text.substr(before + 1, at - before - 1);
    if (stem.find('/') == std::string::npos) listed.insert(stem);
  }
  EXPECT_EQ(there, listed);
}

// 1e300 is finite, until it is a float.
TEST(Recipes, OptionsThatBecomeFloatsStayWithinThem) {
  const fs::path recipe = fs::path(IGEBM_SOURCE_DIR) / "recipes/fashion-mnist-matching.toml";
  for (const char* assignment :
       {"data.low=-1e300", "data.high=1e39", "data.noise=1e39", "sampling.step_size=1e39", "sampling.noise=1e300",
        "sampling.low=-1e300", "sampling.high=1e39", "sampling.start_low=-3e38", "sampling.temperature_end=1e39",
        "phase.refine.optimizer.learning_rate=1e300", "phase.refine.contrastive_divergence.weight=1e39"}) {
    try {
      read_recipe(recipe.string(), {assignment});
      ADD_FAILURE() << assignment;
    } catch (const UserError& e) {
      const std::string key(assignment, std::string(assignment).find('='));
      EXPECT_NE(std::string(e.what()).find("--set " + key), std::string::npos) << e.what();
    }
  }
  for (const char* assignment : {"sampling.low=-inf", "sampling.high=inf", "watchdog.energy_limit=1e300",
                                 "sampling.gradient_clip=inf", "sampling.step_size=1e30"})
    EXPECT_NO_THROW(read_recipe(recipe.string(), {assignment})) << assignment;
}

}  // namespace
}  // namespace igebm::training
