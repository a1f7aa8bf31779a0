#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/learner.h"
#include "igebm/training/record.h"
#include "igebm/training/trainer.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// Keeps what is said.
struct Listener : Observer {
  void message(std::string_view text) override { said += std::string(text) + "\n"; }
  bool heard(const std::string& text) const { return said.find(text) != std::string::npos; }
  std::string said;
};

class Resume : public RunTest {
 protected:
  /// One phase of 20 steps without chains; the run's folder is `folder`.
  static Recipe one_phase() {
    Recipe recipe = small();
    recipe.phase_order = {"match"};
    recipe.phases.resize(1);
    recipe.phases[0].steps = 20;
    recipe.output.samples_every = 0;
    return recipe;
  }
  static std::string figures(const fs::path& run) { return io::read_file(run / "metrics.jsonl"); }
  static void expect_same_state(const fs::path& a, const fs::path& b) {
    for (const char* file : {"network.safetensors", "average.safetensors", "state.safetensors"})
      EXPECT_TRUE(io::read_file(a / file) == io::read_file(b / file)) << file;
  }
};

TEST_F(Resume, ARefusedOneLeavesEverythingAsItWas) {
  Trainer::begin(small(), folder, silent).train({});
  const auto before = contents(folder);
  const fs::path early = folder / "checkpoints/000020";
  const std::vector<std::vector<std::string>> refused = {
      {"phase.refine.contrastive_divergence.buffer=60"},  // of another shape than the checkpoint's
      {"network.widths=[8]"},
      {"evaluate.every=3", "evaluate.features=absent"},
      {"train.phases=[\"match\", \"refine\", \"third\"]", "phase.third.contrastive_divergence.augment.share=0.5",
       "phase.third.contrastive_divergence.low=0", "phase.third.contrastive_divergence.high=1"},  // augments points
      {"data.name=absent"},
      {"run.device=tpu"}};
  for (const auto& assignments : refused) {
    EXPECT_THROW(Trainer::resume(early, assignments, silent), UserError) << assignments[0];
    EXPECT_TRUE(contents(folder) == before) << assignments[0];
  }
  EXPECT_TRUE(Trainer::resume(folder, {}, silent).train({}));
  EXPECT_TRUE(contents(folder) == before);
}

TEST_F(Resume, ARunThatCannotBeginLeavesNothing) {
  Recipe recipe = small();
  recipe.phases[1].objectives.find<ContrastiveDivergenceOptions>()->replay.augment.share =
      0.5;  // points, and in the second phase
  EXPECT_THROW(Trainer::begin(recipe, folder / "run", silent), UserError);
  EXPECT_FALSE(fs::exists(folder));
  fs::create_directories(folder / "empty");
  EXPECT_THROW(Trainer::begin(recipe, folder / "empty", silent), UserError);
  EXPECT_TRUE(contents(folder / "empty").empty());
}

TEST_F(Resume, APhaseOfAnyNameIsWrittenAndReadBack) {
  Recipe recipe = small();
  recipe.phase_order = {"first phase", "then.\"this\""};
  for (std::size_t i = 0; i < 2; ++i) recipe.phases[i].name = recipe.phase_order[i];
  recipe = with_choices(recipe);
  Trainer::begin(recipe, folder / "whole", silent).train({});
  Trainer::begin(recipe, folder / "parts", silent).train(stop_after(15));
  Trainer::resume(folder / "parts", {}, silent).train({});
  fs::remove_all(folder / "parts/checkpoints/000015");
  fs::remove_all(folder / "whole/checkpoints/000015");
  EXPECT_TRUE(contents(folder / "whole") == contents(folder / "parts"));
}

TEST_F(Resume, RepeatedBatchesGoOnWithinTheirRepeats) {
  Recipe recipe = small();
  for (PhaseOptions& phase : recipe.phases) phase.repeats = 3;
  recipe = with_choices(recipe);
  Trainer::begin(recipe, folder / "whole", silent).train({});
  Trainer::begin(recipe, folder / "parts", silent).train(stop_after(10));
  Trainer::resume(folder / "parts", {}, silent).train({});
  EXPECT_EQ(figures(folder / "whole"), figures(folder / "parts"));
  expect_same_state(folder / "whole/checkpoints/000030", folder / "parts/checkpoints/000030");
}

TEST_F(Resume, StepsOfARepeatedBatchSeeTheSameRecordsUnderOtherNoise) {
  Recipe recipe = one_phase();
  recipe.phases[0].steps = 5;
  recipe.phases[0].repeats = 2;
  const std::int64_t batch = recipe.phases[0].batch;
  const auto learner = make_learner(recipe, {}, silent);
  learner->choose_algorithms();
  learner->enter_phase();
  std::vector<at::Tensor> seen;
  for (std::int64_t step = 0; step < 5; ++step) {
    EXPECT_EQ(learner->used.records, step * batch);  // a stream of noise for each record of each step
    EXPECT_EQ(learner->used.data, step / 2 * batch);
    seen.push_back(learner->next_batch().x);
    ASSERT_EQ(learner->advance(), "");
  }
  EXPECT_TRUE(at::equal(seen[0], seen[1]));
  EXPECT_FALSE(at::equal(seen[1], seen[2]));
  EXPECT_EQ(learner->used.data, 3 * batch);  // the last was cut short by the phase's end
  EXPECT_EQ(learner->used_before(3).data, batch);
}

// As if the recipe had had it from the start, whatever wrote the checkpoint.
TEST_F(Resume, APhaseAddedToAFinishedRunIsEntered) {
  const Recipe first = with_choices(one_phase());
  Recipe longer = first;
  PhaseOptions second = longer.phases[0];
  second.name = "second";
  second.steps = 10;
  longer.phase_order.emplace_back("second");
  longer.phases.push_back(second);
  Trainer::begin(longer, folder / "whole", silent).train({});
  const std::vector<std::string> added = {"train.phases=[\"match\", \"second\"]", "phase.second.steps=10",
                                          "phase.second.batch=16", "phase.second.energy_matching.weight=1"};
  for (const bool earlier_version : {false, true}) {
    const fs::path run = folder / (earlier_version ? "old" : "new");
    Trainer::begin(first, run, silent).train({});
    if (earlier_version) {  // which did not write the phase
      const fs::path index = run / "checkpoints/000020/checkpoint.json";
      std::string text = io::read_file(index);
      const auto from = text.find("\"phase\""), to = text.find("\"metrics_bytes\"");
      ASSERT_TRUE(from < to && to != std::string::npos);
      io::write_atomically(index, text.erase(from, to - from));
    }
    Listener listener;
    Trainer::resume(run, added, listener).train({});
    EXPECT_TRUE(listener.heard("phase second: 10 steps of energy matching")) << listener.said;
    EXPECT_EQ(figures(run), figures(folder / "whole"));
    expect_same_state(run / "checkpoints/000030", folder / "whole/checkpoints/000030");
  }
}

TEST_F(Resume, APhaseCutShortGivesWayToTheNext) {
  Trainer::begin(small(), folder, silent).train(stop_after(10));
  Listener listener;
  Trainer::resume(folder, {"phase.match.steps=10"}, listener).train(stop_after(1));
  EXPECT_TRUE(listener.heard("phase refine")) << listener.said;
  // The phase before it has other steps now; this one goes on.
  Listener silence;
  Trainer::resume(folder, {"phase.match.steps=9"}, silence).train(stop_after(1));
  EXPECT_FALSE(silence.heard("phase refine")) << silence.said;
}

// A step may take minutes. What it had changed until it was given up, spectral norm's vectors and streams of chains,
// is as before.
TEST_F(Resume, StoppedWithinAStepItIsTheSameBitForBit) {
  fs::create_directories(folder);
  at::manual_seed(0);
  io::write_npz(folder / "pictures.npz", {{"images", at::rand({60, 1, 8, 8})}});
  Recipe recipe = small();
  recipe.data = {.name = "npz", .path = folder / "pictures.npz"};
  recipe.network = {.kind = "residual", .residual = {.stem = 4, .blocks = "4d 4", .spectral_norm = true}};
  for (PhaseOptions& phase : recipe.phases) phase.steps = 6;
  recipe.phases[1].objectives.find<ContrastiveDivergenceOptions>()->steps = 20;
  recipe.output.samples_every = 0;
  recipe = with_choices(recipe);
  Trainer::begin(recipe, folder / "whole", silent).train({});
  const auto whole = contents(folder / "whole");
  std::set<std::int64_t> stopped_at;
  for (const std::int64_t asked : {5, 40, 16 * 6 + 15, 16 * 6 + 18, 134, 155, 180}) {
    const fs::path run = folder / std::to_string(asked);
    std::int64_t calls = 0;
    {
      Trainer trainer = Trainer::begin(recipe, run, silent);
      EXPECT_FALSE(trainer.train({}, [&] { return ++calls == asked; })) << asked;
      stopped_at.insert(trainer.step());
    }
    EXPECT_EQ(calls, asked);
    Trainer::resume(run, {}, silent).train({});
    auto other = contents(run);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(other[name] == bytes) << name << " after " << asked;
  }
  EXPECT_EQ(stopped_at, (std::set<std::int64_t>{0, 2, 6, 7, 8, 10}));
}

TEST_F(Resume, TwoAtATimeAreRefusedAndReadersAreNot) {
  {
    Trainer first = Trainer::begin(small(), folder, silent);
    EXPECT_FALSE(first.train(stop_after(7)));
    const auto before = contents(folder);
    EXPECT_THROW(Trainer::resume(folder, {}, silent), UserError);
    EXPECT_THROW(Trainer::begin(small(), folder, silent), UserError);
    EXPECT_TRUE(contents(folder) == before);
    EXPECT_NO_THROW(model::load_network(folder));
    EXPECT_EQ(load_newest(folder).step, 7);
    EXPECT_TRUE(first.train({}));
  }
  EXPECT_NO_THROW(Trainer::resume(folder, {}, silent));
}

TEST_F(Resume, FiguresThatAPowerCutTookAreSaidAndNotMadeUp) {
  const Recipe recipe = with_choices(small());
  Trainer::begin(recipe, folder / "whole", silent).train({});
  const std::string whole = figures(folder / "whole");
  for (const char* how : {"short", "zeros", "in a line", "gone"}) {
    const fs::path run = folder / how;
    Trainer::begin(recipe, run, silent).train(stop_after(20));
    const std::string text = figures(run);
    const auto third = text.find('\n', text.find('\n', text.find('\n') + 1) + 1) + 1;
    const std::string kept = text.substr(0, how == std::string("gone") ? 0 : third);
    if (how == std::string("gone")) {
      fs::remove(run / "metrics.jsonl");
    } else {
      const std::string rest = how == std::string("zeros")       ? std::string(text.size() - third, '\0')
                               : how == std::string("in a line") ? text.substr(third, 20)
                                                                 : "";
      io::write_atomically(run / "metrics.jsonl", kept + rest);
    }
    Listener listener;
    Trainer::resume(run, {}, listener).train({});
    EXPECT_TRUE(listener.heard("metrics.jsonl: only")) << how << ": " << listener.said;
    EXPECT_EQ(figures(run), kept + whole.substr(text.size())) << how;
    expect_same_state(run / "checkpoints/000033", folder / "whole/checkpoints/000033");
  }
}

TEST_F(Resume, OtherDataAreSaid) {
  fs::create_directories(folder);
  at::manual_seed(0);
  const at::Tensor x = at::randn({64, 2}), labels = at::arange(64).remainder(2);
  const auto write = [&](const at::Tensor& points, const at::Tensor& classes) {
    io::write_npz(folder / "points.npz", {{"points", points}, {"labels", classes}});
  };
  write(x, labels);
  Recipe recipe = one_phase();
  recipe.data = {.name = "npz", .path = folder / "points.npz", .validation = 0};
  Trainer::begin(recipe, folder / "run", silent).train(stop_after(3));
  const auto said = [&] {
    Listener listener;
    Trainer::resume(folder / "run", {}, listener);
    return listener.said;
  };
  EXPECT_EQ(said().find("the data"), std::string::npos);
  write(x, 1 - labels);
  EXPECT_NE(said().find("the data are not those that the run had until now: other labels\n"), std::string::npos);
  write(x + 1, labels);
  EXPECT_NE(said().find("until now: other contents\n"), std::string::npos);
  write(x.slice(0, 0, 60), labels.slice(0, 0, 60));
  EXPECT_NE(said().find("until now: 60 records instead of 64\n"), std::string::npos);
}

// Where folders cannot be exchanged, an interruption can leave the best one under the name that it had in between.
TEST_F(Resume, ABestCheckpointCaughtBetweenTwoNamesIsFoundAndPutBack) {
  Trainer::begin(small(), folder, silent).train(stop_after(12));
  save_best(folder, load_newest(folder));
  const fs::path best = folder / "checkpoints/best", between = folder / "checkpoints/replaced-best";
  fs::rename(best, between);
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 12);
  Trainer::resume(folder, {}, silent);
  EXPECT_FALSE(fs::exists(between));
  EXPECT_EQ(load_checkpoint(best).step, 12);
  fs::create_directories(between);
  Trainer::resume(folder, {}, silent);
  EXPECT_FALSE(fs::exists(between));
  EXPECT_EQ(load_checkpoint(model::find_best(folder)).step, 12);
}

}  // namespace
}  // namespace igebm::training
