#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/io/files.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/energy_matching.h"
#include "igebm/training/learner.h"
#include "igebm/training/recipe.h"

namespace igebm::training {

/// Two phases, both objectives, small enough for tests.
inline Recipe small() {
  Recipe recipe;
  recipe.data.name = "two-moons";
  recipe.data.count = 500;
  recipe.network = {.kind = "mlp", .labels = true, .mlp = {{16, 16}}};
  recipe.phase_order = {"match", "refine"};
  PhaseOptions match;
  match.name = "match";
  match.steps = 13;
  match.batch = 16;
  match.objectives.add(EnergyMatchingOptions{});
  PhaseOptions refine = match;
  refine.name = "refine";
  refine.steps = 20;
  refine.objectives.add(ContrastiveDivergenceOptions{.weight = 0.1,
                                                     .steps = 5,
                                                     .langevin = {.step_size = 0.01, .noise = -1},
                                                     .flow = {3, sampling::FlowMethod::euler},
                                                     .replay = {.size = 40, .data_share = 0.1}});
  recipe.phases = {match, refine};
  recipe.sampling = {.start = {sampling::Start::normal},
                     .flow = {5, sampling::FlowMethod::heun},
                     .steps = 5,
                     .langevin = {.step_size = 0.01, .noise = -1}};
  recipe.output = {.checkpoint_every = 5, .keep = 0, .metrics_every = 1, .samples_every = 10, .samples = 16};
  return recipe;
}

/// Tests that train in a folder of their own.
class RunTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder = std::filesystem::temp_directory_path() /
             ("igebm-" + std::string(test->test_suite_name()) + std::to_string(getpid()) + test->name());
    std::filesystem::remove_all(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// Everything that a run leaves, by name; but TensorBoard's events, which hold the time of day.
  static std::map<std::string, std::string> contents(const std::filesystem::path& run) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
      if (entry.is_regular_file() && entry.path().parent_path().filename() != "tensorboard")
        files[std::filesystem::relative(entry.path(), run)] = io::read_file(entry.path());
    }
    return files;
  }
  /// The recipe with the engine's choices measured once, for runs whose bits are compared.
  Recipe with_choices(Recipe recipe) {
    const auto learner = make_learner(recipe, {}, silent);
    learner->choose_algorithms();
    std::filesystem::create_directories(folder);
    recipe.choices = folder / "choices.json";
    io::write_atomically(recipe.choices, learner->frozen->choices());
    return recipe;
  }
  static auto stop_after(std::int64_t steps) {
    return [steps]() mutable { return steps-- <= 0; };
  }

  std::filesystem::path folder;
  Observer silent;
};

}  // namespace igebm::training
