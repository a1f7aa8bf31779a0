#include "igebm/training/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/safetensors.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/learner.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

class Training : public RunTest {
 protected:
  static void expect_same(const fs::path& a, const fs::path& b) {
    const auto x = contents(a), y = contents(b);
    for (const auto& [name, bytes] : x) EXPECT_TRUE(y.contains(name) && y.at(name) == bytes) << name;
    EXPECT_EQ(x.size(), y.size());
  }
};

TEST_F(Training, InterruptedAnywhereAndResumedIsTheSameBitForBit) {
  const Recipe recipe = with_choices(small());
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  for (const std::int64_t step : {0, 1, 7, 12, 13, 14, 20, 32}) {
    const fs::path run = folder / std::to_string(step);
    EXPECT_FALSE(Trainer::begin(recipe, run, silent).train(stop_after(step)));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    if (step % 5 != 0)
      fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step == 13 ? 99 : step));  // the interruption's own
    expect_same(folder / "whole", run);
  }
}

TEST_F(Training, KilledAnywhereAndResumedIsTheSameBitForBit) {
  const Recipe recipe = with_choices(small());
  Trainer::begin(recipe, folder / "whole", silent).train({});
  for (const std::int64_t step : {3, 11, 18}) {
    // As after kill -9: what was written since the last checkpoint stays, but nothing more.
    const fs::path run = folder / std::to_string(step);
    Trainer::begin(recipe, run, silent).train(stop_after(step));
    fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step));
    fs::create_directories(run / "checkpoints" / "saving-000099");
    io::write_atomically(run / "checkpoints" / "saving-000099" / "network.safetensors", "half a file");
    Trainer::resume(run, {}, silent).train({});
    fs::remove_all(run / "checkpoints" / "saving-000099");
    expect_same(folder / "whole", run);
  }
}

// Chains that are compact and augmented, every term of improved contrastive divergence, and one form after the other.
TEST_F(Training, ImprovedContrastiveDivergenceResumesBitForBit) {
  fs::create_directories(folder);
  at::manual_seed(0);
  io::write_npz(folder / "pictures.npz", {{"images", at::rand({60, 1, 8, 8})}});
  Recipe recipe = small();
  recipe.data = {.name = "npz", .path = folder / "pictures.npz", .low = -1};
  recipe.network = {.kind = "unet", .unet = {.channels = {4, 4}, .blocks = {1, 1}, .groups = 2}};
  for (std::size_t i = 0; i < 2; ++i) {
    recipe.phases[i] = recipe.phases[1];
    recipe.phases[i].name = recipe.phase_order[i];
    recipe.phases[i].steps = 9;
    ContrastiveDivergenceOptions& o = *recipe.phases[i].objectives.find<ContrastiveDivergenceOptions>();
    o.form = i == 0 ? ContrastForm::logsumexp : ContrastForm::softplus;
    o.end = {.kl = 1, .entropy = 0.3, .pool = 10};
    o.langevin.low = -1, o.langevin.high = 1;
    o.start = {sampling::Start::uniform, -1, 1};
    o.replay.compact = true;
    o.replay.augment = {.share = 0.5, .flip = true, .area = 0.5, .brightness = 0.2, .blur = 1};
  }
  recipe.output.samples_every = 0;
  recipe = with_choices(recipe);
  EXPECT_TRUE(Trainer::begin(recipe, folder / "whole", silent).train({}));
  EXPECT_NE(io::read_file(folder / "whole/metrics.jsonl").find("chain_end/neighbour_distance"), std::string::npos);
  for (const std::int64_t step : {3, 9, 14}) {
    const fs::path run = folder / std::to_string(step);
    EXPECT_FALSE(Trainer::begin(recipe, run, silent).train(stop_after(step)));
    EXPECT_TRUE(Trainer::resume(run, {}, silent).train({}));
    if (step != 9) fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step));
    expect_same(folder / "whole", run);
  }
  // The recipe reads back, and its augmentation asks for black and white.
  read_recipe(folder / "whole/recipe.toml", {});
  EXPECT_THROW(read_recipe(folder / "whole/recipe.toml", {"phase.match.contrastive_divergence.low=-inf"}), UserError);
  EXPECT_THROW(read_recipe(folder / "whole/recipe.toml", {"phase.match.contrastive_divergence.form=hinge"}), UserError);
}

/// Two phases of contrastive divergence that see each of 368 points once, in batches of 16, then of 8.
Recipe shrinking() {
  Recipe recipe = small();
  recipe.data.validation = 0;
  recipe.data.count = 13 * 16 + 20 * 8;
  recipe.phases[0] = recipe.phases[1];
  recipe.phases[0].name = "match", recipe.phases[0].steps = 13;
  recipe.phases[1].batch = 8;
  return recipe;
}

TEST_F(Training, ALaterPhaseOfSmallerBatchesSharesNothingWithAnEarlierOne) {
  const Recipe recipe = shrinking();
  const auto state = make_learner(recipe, {}, silent);
  std::set<std::int64_t> seen, streams;
  for (std::int64_t step = 0; step < recipe.total_steps(); ++step) {
    if (place_of(recipe, step).second == 0) state->enter_phase();
    const at::Tensor index = state->next_batch().index;
    ASSERT_EQ(state->advance(), "");
    for (std::int64_t i = 0; i < index.size(0); ++i) seen.insert(index[i].item<std::int64_t>());
    if (step != 12 && step != 32) continue;  // a phase's last
    const at::Tensor of = state->objectives.back().second->state().at("stream");
    for (std::int64_t i = 0; i < of.size(0); ++i) {
      const auto stream = of[i].item<std::int64_t>();
      EXPECT_TRUE(stream < 0 || streams.insert(stream).second) << stream;
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), recipe.data.count);
  EXPECT_LT(*streams.rbegin(), recipe.data.count);
  EXPECT_GE(*streams.begin(), 0);
}

TEST_F(Training, PhasesOfOtherBatchesResumeBitForBitAlsoFromCheckpointsThatDoNotCountRecords) {
  const Recipe recipe = with_choices(shrinking());
  Trainer::begin(recipe, folder / "whole", silent).train({});
  for (const std::int64_t step : {7, 17}) {
    const fs::path run = folder / std::to_string(step);
    Trainer::begin(recipe, run, silent).train(stop_after(step));
    Checkpoint old = load_checkpoint(model::list_checkpoints(run).back());
    old.state.erase("used");
    save_checkpoint(run, old, 0);
    Trainer::resume(run, {}, silent).train({});
    fs::remove_all(run / "checkpoints" / fmt::format("{:06}", step));
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
  for (const auto& [name, t] : model::load_network(folder).parameters)
    EXPECT_TRUE(t.is_cpu() && t.isfinite().all().item<bool>());
  Trainer::resume(folder, {"run.device=cpu"}, silent).train(stop_after(8));
  EXPECT_TRUE(Trainer::resume(folder, {"run.device=cuda"}, silent).train({}));
  EXPECT_TRUE(fs::exists(folder / "samples.png"));
}

// Phases take different times, so that each is told of alone: "match: step 3 of 13", then "refine: step 14 of 33".
TEST_F(Training, ProgressIsThatOfThePhase) {
  struct : Observer {
    std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> told;
    void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
      told.emplace_back(stage, done, total);
    }
  } observer;
  const Recipe recipe = small();
  Trainer::begin(recipe, folder, observer).train({});
  const std::int64_t first = recipe.phases[0].steps, all = recipe.total_steps();
  ASSERT_EQ(static_cast<std::int64_t>(observer.told.size()), all);
  for (std::int64_t step = 1; step <= all; ++step) {
    const bool in_first = step <= first;
    const auto expected = std::tuple(recipe.phases[in_first ? 0 : 1].name, step, in_first ? first : all);
    EXPECT_EQ(observer.told[static_cast<std::size_t>(step - 1)], expected);
  }
}

TEST_F(Training, AFinishedRunSaysSoAndStays) {
  Trainer::begin(small(), folder, silent).train({});
  const auto before = contents(folder);
  EXPECT_TRUE(Trainer::resume(folder, {}, silent).train({}));
  EXPECT_EQ(contents(folder), before);
  EXPECT_THROW(Trainer::begin(small(), folder, silent), UserError);
}

TEST_F(Training, MoreStepsForAFinishedRunDrawItsSamplesAnew) {
  Trainer::begin(small(), folder, silent).train({});
  const std::string before = io::read_file(folder / "samples.png");
  const std::int64_t more = small().phases[1].steps + 20;
  Trainer::resume(folder, {fmt::format("phase.refine.steps={}", more)}, silent).train({});
  EXPECT_NE(io::read_file(folder / "samples.png"), before);
}

TEST_F(Training, DamagedCheckpointsAreNamedAndTheOneBeforeOffered) {
  Trainer::begin(small(), folder, silent).train(stop_after(11));
  const fs::path newest = model::list_checkpoints(folder).back();
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
  Trainer::resume(model::list_checkpoints(folder)[1], {}, silent).train({});
  EXPECT_EQ(model::list_checkpoints(folder).back().filename(), "000033");
}

TEST_F(Training, OldCheckpointsAreRemoved) {
  Recipe recipe = small();
  recipe.output.keep = 2;
  Trainer::begin(recipe, folder, silent).train({});
  EXPECT_EQ(model::list_checkpoints(folder).size(), 2U);
}

TEST_F(Training, AnEnsembleIsOfTheRegularCheckpointsBefore) {
  Trainer::begin(small(), folder, silent).train(stop_after(22));
  const auto steps = [](const std::vector<model::NetworkFile>& models) {
    std::string text;
    for (const model::NetworkFile& m : models) text += m.metadata.at("step") + " ";
    return text;
  };
  EXPECT_EQ(steps(model::load_ensemble(folder, 1)), "22 ");
  EXPECT_EQ(steps(model::load_ensemble(folder, 4)), "13 15 20 22 ");
  Trainer::resume(folder, {}, silent).train({});
  EXPECT_EQ(steps(model::load_ensemble(folder, 4)), "20 25 30 33 ");  // 22 is the interruption's
  EXPECT_EQ(steps(model::load_ensemble(folder / "checkpoints/000015", 2)), "13 15 ");
  const auto raw = model::load_ensemble(folder, 2, model::Weights::network), averaged = model::load_ensemble(folder, 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const Checkpoint c = load_checkpoint(folder / "checkpoints" / (i == 0 ? "000030" : "000033"));
    for (const auto& [name, t] : c.network.parameters) EXPECT_TRUE(at::equal(raw[i].parameters.at(name), t)) << name;
    for (const auto& [name, t] : c.average) EXPECT_TRUE(at::equal(averaged[i].parameters.at(name), t)) << name;
  }
  try {
    model::load_ensemble(folder / "checkpoints/000015", 9);
    ADD_FAILURE() << "there are 5";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("5 checkpoints up to step 15, expected 9"), std::string::npos) << e.what();
  }
  EXPECT_THROW(read_recipe(folder / "recipe.toml", {"sampling.ensemble=3", "train.keep=2"}), UserError);
}

TEST_F(Training, AnInterruptionsCheckpointTakesNoPlaceAmongThoseKept) {
  Recipe recipe = small();
  recipe.output.keep = 2;
  Trainer::begin(recipe, folder, silent).train(stop_after(22));
  EXPECT_EQ(model::list_checkpoints(folder).size(), 3U);  // 15, 20 and the interruption's
  Trainer::resume(folder, {}, silent).train(stop_after(4));
  std::string kept;
  for (const auto& c : model::list_checkpoints(folder)) kept += c.filename().string() + " ";
  EXPECT_EQ(kept, "000020 000025 000026 ");
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
  EXPECT_THROW(model::load_network(folder / "foreign.safetensors"), UserError);
  EXPECT_THROW(model::load_network(folder), UserError);
  EXPECT_THROW(Trainer::resume(folder, {}, silent), UserError);
}

}  // namespace
}  // namespace igebm::training
