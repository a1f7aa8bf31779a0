#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/energy_matching.h"
#include "igebm/training/trainer.h"
#include "tests/refusals.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// Evaluation every 4 steps, checkpoints every 5 of which one is kept, and at 33 the end.
Recipe evaluated() {
  Recipe recipe;
  recipe.data.name = "two-moons";
  recipe.data.count = 500;
  recipe.network = {.kind = "mlp", .mlp = {{16, 16}}};
  recipe.phase_order = {"first", "second"};
  PhaseOptions first;
  first.name = "first";
  first.steps = 13;
  first.batch = 16;
  first.objectives.add(EnergyMatchingOptions{});
  PhaseOptions second = first;
  second.name = "second";
  second.steps = 20;
  recipe.phases = {first, second};
  recipe.sampling = {.start = {sampling::Start::normal},
                     .flow = {5, sampling::FlowMethod::euler},
                     .steps = 2,
                     .langevin = {.step_size = 0.01}};
  recipe.output = {.checkpoint_every = 5, .keep = 1, .metrics_every = 1, .samples_every = 0};
  recipe.evaluate = {.every = 4, .count = 20};
  return recipe;
}

/// Any function of the samples that goes up and down does.
MakeSampleMetric wavy() {
  return [](const Recipe&) {
    return [](const evaluation::Records& samples) { return std::sin(1e3 * samples.x.sum().item<double>()); };
  };
}

/// One figure after the other.
MakeSampleMetric listed(std::vector<double> figures) {
  return [figures](const Recipe&) {
    return [figures, next = std::size_t{0}](const evaluation::Records&) mutable { return figures.at(next++); };
  };
}

class BestCheckpoint : public RunTest {
 protected:
  static std::map<std::int64_t, double> figures(const fs::path& run) {
    std::map<std::int64_t, double> found;
    std::istringstream lines(io::read_file(run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("quality/frechet")) found[json["step"]] = json["quality/frechet"];
    }
    return found;
  }
};

TEST_F(BestCheckpoint, IsTheOneWithTheLeastFigureAndOutlivesTheOthers) {
  Trainer::begin(evaluated(), folder, silent, wavy()).train({});
  const auto all = figures(folder);
  EXPECT_EQ(all.size(), 9U);  // 4, 8, ..., 32, and the end
  const auto least = std::min_element(all.begin(), all.end(), [](auto& a, auto& b) { return a.second < b.second; });
  const Checkpoint best = load_checkpoint(model::find_best(folder)),
                   last = load_checkpoint(model::list_checkpoints(folder).back());
  EXPECT_NE(least->first, last.step) << "another seed would test more";
  EXPECT_EQ(best.step, least->first);
  ASSERT_TRUE(last.best.has_value());
  EXPECT_EQ(last.best->step, least->first);
  EXPECT_EQ(last.best->value, least->second);
  EXPECT_EQ(model::list_checkpoints(folder).size(), 1U);
}

TEST_F(BestCheckpoint, InterruptedOrKilledAndResumedIsTheSameBitForBit) {
  const Recipe chosen = with_choices(evaluated());
  Trainer::begin(chosen, folder / "whole", silent, wavy()).train({});
  const auto whole = contents(folder / "whole");
  EXPECT_TRUE(whole.contains("checkpoints/best/state.safetensors"));
  for (const bool killed : {false, true}) {
    for (const std::int64_t step : {4, 9, 13, 22, 32}) {
      const fs::path run = folder / fmt::format("{}{}", step, killed);
      Recipe recipe = chosen;
      recipe.output.keep = 0;
      Trainer::begin(recipe, run, silent, wavy()).train(stop_after(step));
      if (killed && step != 13) fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step));
      Trainer::resume(run, {}, silent, wavy()).train({});
      auto files = contents(run);
      for (const auto& [name, bytes] : whole) {
        if (name == "recipe.toml") continue;
        EXPECT_TRUE(files[name] == bytes) << name << " after " << step << killed;
      }
    }
  }
}

TEST_F(BestCheckpoint, AtAPhasesEndItIsResumedLikeTheOthers) {
  Recipe recipe = evaluated();
  recipe.evaluate.every = 13;
  Trainer::begin(recipe, folder, silent, listed({1, 2, 3})).train({});
  const auto whole = contents(folder);
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 13);
  Trainer::resume(model::find_best(folder), {}, silent, listed({2, 3})).train({});
  for (const char* name : {"network.safetensors", "average.safetensors", "state.safetensors"}) {
    const std::string file = fmt::format("checkpoints/000033/{}", name);
    EXPECT_TRUE(contents(folder)[file] == whole.at(file)) << name;
  }
}

TEST_F(BestCheckpoint, OfTheInceptionScoreIsTheGreatest) {
  Recipe recipe = evaluated();
  recipe.evaluate = {.every = 11, .metric = "inception", .count = 5};
  Trainer::begin(recipe, folder, silent, listed({2, 5, 3})).train({});
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 22);
}

TEST_F(BestCheckpoint, OfStepsThatAreGivenUpGoes) {
  Recipe recipe = evaluated();
  recipe.output.keep = 0;
  recipe.evaluate.every = 11;
  Trainer::begin(recipe, folder, silent, listed({3, 1, 2})).train({});
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 22);
  Trainer::resume(folder / "checkpoints/000015", {"phase.second.steps=9"}, silent, listed({4})).train({});
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 22);  // the new one's end
  EXPECT_EQ(load_checkpoint(model::list_checkpoints(folder).back()).best->value, 4);
}

TEST_F(BestCheckpoint, IsNotComparedWithOtherFigures) {
  Recipe recipe = evaluated();
  recipe.evaluate.every = 11;
  for (const char* changed : {"evaluate.metric=kid", "evaluate.features=other", "evaluate.count=21"}) {
    const fs::path run = folder / changed;
    Trainer::begin(recipe, run, silent, listed({1})).train(stop_after(12));
    EXPECT_EQ(load_checkpoint(model::find_best(run)).step, 11);
    // Interrupted before a figure, and once more: what the best was measured by is still known.
    Trainer::resume(run, {changed}, silent, listed({})).train(stop_after(0));
    EXPECT_EQ(load_checkpoint(model::list_checkpoints(run).back()).best->value, 1);
    Trainer::resume(run, {}, silent, listed({5, 6})).train({});
    EXPECT_EQ(load_checkpoint(model::find_best(run)).step, 22) << changed;
    EXPECT_EQ(load_checkpoint(model::list_checkpoints(run).back()).best->value, 5) << changed;
  }
}

// Points are compared by their coordinates: no other metric need be given.
TEST_F(BestCheckpoint, IsByTheRecipesOwnMetric) {
  Recipe recipe = evaluated();
  recipe.evaluate = {.every = 33, .count = 200};
  Trainer::begin(recipe, folder / "run", silent).train({});
  const double figure = figures(folder / "run").at(33);
  EXPECT_TRUE(figure > 0 && figure < 10) << figure;
  const data::Dataset data = data::load(recipe.data, data::Split::train, 0);
  const SampleMetric metric = sample_metric(recipe);
  EXPECT_LT(metric({.x = data.x.slice(0, 0, 200)}), 0.1);
  EXPECT_GT(metric({.x = data.x.slice(0, 0, 200) + 3}), 9);
}

TEST_F(BestCheckpoint, NeedsWhatItsMetricNeeds) {
  Recipe recipe = evaluated();
  for (const char* metric : {"inception", "labels_right", "condition_errors"}) {
    recipe.evaluate.metric = metric;
    EXPECT_SAYS(Trainer::begin(recipe, folder, silent), fmt::format("evaluate.metric: {}: these ", metric));
  }
  recipe.evaluate = {.every = 4, .metric = "inception", .count = 9};
  EXPECT_SAYS(Trainer::begin(recipe, folder, silent), "evaluate.count: Inception score: expected at least 10");
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_THROW(model::find_best(folder), UserError);
}

}  // namespace
}  // namespace igebm::training
