#include "igebm/training/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/safetensors.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// Two phases, both objectives, small enough for tests.
Recipe small() {
  Recipe recipe;
  recipe.data.name = "two-moons";
  recipe.data.count = 500;
  recipe.network = {.kind = "mlp", .labels = true, .mlp = {{16, 16}}};
  recipe.phase_order = {"match", "refine"};
  PhaseOptions match;
  match.name = "match";
  match.steps = 13;
  match.batch = 16;
  match.has_energy_matching = true;
  PhaseOptions refine = match;
  refine.name = "refine";
  refine.steps = 20;
  refine.has_contrastive_divergence = true;
  refine.contrastive_divergence = {.weight = 0.1,
                                   .steps = 5,
                                   .langevin = {.step_size = 0.01, .noise = -1},
                                   .flow = {3, "euler"},
                                   .replay = {.size = 40, .data_share = 0.1}};
  recipe.phases = {match, refine};
  recipe.sampling = {
      .start = {"normal"}, .flow = {5, "heun"}, .steps = 5, .langevin = {.step_size = 0.01, .noise = -1}};
  recipe.output = {.checkpoint_every = 5, .keep = 0, .metrics_every = 1, .samples_every = 10, .samples = 16};
  return recipe;
}

class Training : public RunTest {
 protected:
  static void expect_same(const fs::path& a, const fs::path& b) {
    const auto x = contents(a), y = contents(b);
    for (const auto& [name, bytes] : x) EXPECT_TRUE(y.contains(name) && y.at(name) == bytes) << name;
    EXPECT_EQ(x.size(), y.size());
  }
};

TEST_F(Training, InterruptedAnywhereAndResumedIsTheSameBitForBit) {
  EXPECT_TRUE(Trainer::begin(small(), folder / "whole", silent).train({}));
  for (const std::int64_t step : {0, 1, 7, 12, 13, 14, 20, 32}) {
    const fs::path run = folder / std::to_string(step);
    EXPECT_FALSE(Trainer::begin(small(), run, silent).train(stop_after(step)));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    if (step % 5 != 0)
      fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step == 13 ? 99 : step));  // the interruption's own
    expect_same(folder / "whole", run);
  }
}

TEST_F(Training, KilledAnywhereAndResumedIsTheSameBitForBit) {
  Trainer::begin(small(), folder / "whole", silent).train({});
  for (const std::int64_t step : {3, 11, 18}) {
    // As after kill -9: what was written since the last checkpoint stays, but nothing more.
    const fs::path run = folder / std::to_string(step);
    Trainer::begin(small(), run, silent).train(stop_after(step));
    fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step));
    fs::create_directories(run / "checkpoints" / "saving-000099");
    io::write_atomically(run / "checkpoints" / "saving-000099" / "network.safetensors", "half a file");
    Trainer::resume(run, {}, silent).train({});
    fs::remove_all(run / "checkpoints" / "saving-000099");
    expect_same(folder / "whole", run);
  }
}

TEST_F(Training, WithoutADeviceItIsRefusedBeforeAnythingIsWritten) {
  if (cuda_devices() > 0) GTEST_SKIP() << "there is a CUDA device";
  Recipe recipe = small();
  recipe.device = "cuda";
  EXPECT_THROW(Trainer::begin(recipe, folder, silent), UserError);
  EXPECT_FALSE(fs::exists(folder));
}

// A run on the device leaves files that the CPU goes on from, and the other way round.
TEST_F(Training, OnADeviceAndOnTheCpuInTurn) {
  if (cuda_devices() == 0) GTEST_SKIP() << "no CUDA device";
  Recipe recipe = small();
  recipe.device = "cuda";
  Trainer::begin(recipe, folder, silent).train(stop_after(16));
  for (const auto& [name, t] : load_model(folder).parameters)
    EXPECT_TRUE(t.is_cpu() && t.isfinite().all().item<bool>());
  Trainer::resume(folder, {"run.device=cpu"}, silent).train(stop_after(8));
  EXPECT_TRUE(Trainer::resume(folder, {"run.device=cuda"}, silent).train({}));
  EXPECT_TRUE(fs::exists(folder / "samples.png"));
}

TEST_F(Training, AFinishedRunSaysSoAndStays) {
  Trainer::begin(small(), folder, silent).train({});
  const auto before = contents(folder);
  EXPECT_TRUE(Trainer::resume(folder, {}, silent).train({}));
  EXPECT_EQ(contents(folder), before);
  EXPECT_THROW(Trainer::begin(small(), folder, silent), UserError);
}

TEST_F(Training, DamagedCheckpointsAreNamedAndTheOneBeforeOffered) {
  Trainer::begin(small(), folder, silent).train(stop_after(11));
  const fs::path newest = list_checkpoints(folder).back();
  for (const char* file : {"network.safetensors", "average.safetensors", "state.safetensors", "checkpoint.json"}) {
    const std::string bytes = io::read_file(newest / file);
    for (const std::string& damaged : {bytes.substr(0, bytes.size() / 2), std::string(), bytes + "x"}) {
      io::write_atomically(newest / file, damaged);
      if (std::string(file) == "checkpoint.json" && damaged.size() > bytes.size()) continue;
      try {
        Trainer::resume(folder, {}, silent);
        ADD_FAILURE() << file;
      } catch (const UserError& e) {
        EXPECT_NE(std::string(e.what()).find(file), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("--resume"), std::string::npos) << e.what();
      }
    }
    io::write_atomically(newest / file, bytes);
  }
  std::string index = io::read_file(newest / "checkpoint.json");
  index.replace(index.find("\"version\": 1"), 12, "\"version\": 2");
  io::write_atomically(newest / "checkpoint.json", index);
  EXPECT_THROW(load_checkpoint(newest), UserError);
  // From the one before, it arrives at the same end.
  Trainer::resume(list_checkpoints(folder)[1], {}, silent).train({});
  EXPECT_EQ(list_checkpoints(folder).back().filename(), "000033");
}

/// NaN in the data from some step on cannot be had from a data set; an absurd learning rate can.
TEST_F(Training, DivergenceIsRolledBackAndThenReported) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e6, .clip = "none"};
  recipe.watchdog = {.energy_limit = 1e4, .rollbacks = 3, .learning_rate_factor = 0.5};
  try {
    Trainer::begin(recipe, folder, silent).train({});
    ADD_FAILURE() << "expected the training to give up";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("diverged"), std::string::npos) << e.what();
  }
  std::size_t rollbacks = 0;
  const std::string metrics = io::read_file(folder / "metrics.jsonl");
  for (auto at = metrics.find("\"rollback\""); at != std::string::npos; at = metrics.find("\"rollback\"", at + 1))
    ++rollbacks;
  EXPECT_EQ(rollbacks, 3U);
  const auto last = load_checkpoint(list_checkpoints(folder).back());  // still there and whole
  for (const auto& [name, t] : last.network.parameters) EXPECT_TRUE(t.isfinite().all().item<bool>()) << name;
}

TEST_F(Training, RecoversFromDivergenceWithASmallerLearningRate) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e4, .clip = "none"};
  recipe.watchdog = {.energy_limit = 1e3, .rollbacks = 5, .learning_rate_factor = 1e-4};
  EXPECT_TRUE(Trainer::begin(recipe, folder, silent).train({}));
  EXPECT_GE(load_checkpoint(list_checkpoints(folder).back()).rollbacks, 1);
}

TEST_F(Training, OldCheckpointsAreRemoved) {
  Recipe recipe = small();
  recipe.output.keep = 2;
  Trainer::begin(recipe, folder, silent).train({});
  EXPECT_EQ(list_checkpoints(folder).size(), 2U);
}

TEST_F(Training, TheResolvedRecipeReadsBack) {
  Trainer::begin(small(), folder, silent).train(stop_after(0));
  Recipe back = read_recipe(folder / "recipe.toml", {}), original = small();
  const auto text = [](Recipe& r) { return io::write_recipe([&](io::Fields& f) { describe(f, r); }); };
  EXPECT_EQ(text(back), text(original));
}

TEST_F(Training, ModelsOfOtherProgramsAreRefused) {
  fs::create_directories(folder);
  io::write_safetensors(folder / "foreign.safetensors", {{"w", at::zeros({2})}});
  EXPECT_THROW(load_model(folder / "foreign.safetensors"), UserError);
  EXPECT_THROW(load_model(folder), UserError);
  EXPECT_THROW(Trainer::resume(folder, {}, silent), UserError);
}

TEST(Draw, SamplesDoNotDependOnTheBatch) {
  const Recipe recipe = small();
  const nn::Network network(nn::mlp({{16, 16}}, {2}, {.classes = 2}), 3);
  at::Tensor energies;
  const auto frozen = engine::prepare(network.graph(), network.parameters(), {});
  const auto all = draw(recipe, network.graph(), *frozen, 10, 0, {}, 1, &energies);
  const auto parts = draw(recipe, network.graph(), *frozen, 10, 0, {}, 1, nullptr, {}, 3);
  EXPECT_TRUE(at::allclose(all.x, parts.x, 1e-4, 1e-5));
  EXPECT_EQ(energies.size(0), 10);
  EXPECT_TRUE(at::equal(all.labels, at::arange(10).remainder(2)));
}

}  // namespace
}  // namespace igebm::training
