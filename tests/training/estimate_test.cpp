#include "igebm/training/estimate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <set>

#include "igebm/base/error.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/trainer.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// small(), with Langevin steps enough to reckon and figures at intervals that do not divide the phases.
Recipe recipe() {
  Recipe r = small();
  r.phases[1].contrastive_divergence.steps = 50;
  r.phases[1].contrastive_divergence.replay = {.size = 400};
  r.evaluate = {.every = 4, .count = 20};
  return r;
}

class Estimates : public RunTest {
 protected:
  /// An estimate, which must leave nothing in the folder that it is made in.
  Estimate made(const Recipe& r, double seconds, const MakeJudge& judge = {}) {
    const fs::path before = fs::current_path();
    fs::create_directories(folder / "place");
    fs::current_path(folder / "place");
    const Estimate e = estimate(r, {.seconds = seconds}, silent, judge);
    EXPECT_TRUE(fs::is_empty(folder / "place"));
    fs::current_path(before);
    return e;
  }
  static std::int64_t files_in(const fs::path& path) {
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  }
};

// What it counts is what a run leaves behind.
TEST_F(Estimates, AreOfWhatARunDoes) {
  const auto calls = std::make_shared<std::int64_t>(0);
  const MakeJudge judge = [calls](const Recipe&) {
    return [calls](const at::Tensor&) { return static_cast<double>(++*calls); };
  };
  const Estimate e = made(recipe(), 0.2, judge);
  *calls = 0;
  Trainer::begin(recipe(), folder / "run", silent, judge).train({});
  EXPECT_EQ(e.evaluations.count, *calls);
  EXPECT_EQ(e.pictures.count, files_in(folder / "run" / "samples"));
  EXPECT_EQ(e.last_picture.count, 1);
  EXPECT_EQ(e.accuracies.count, 0);
  EXPECT_EQ(e.checkpoints.count, static_cast<std::int64_t>(model::list_checkpoints(folder / "run").size()));
  std::int64_t newest = 0, all = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "run" / "checkpoints")) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto size = static_cast<std::int64_t>(entry.file_size());
    if (entry.path().parent_path() == model::list_checkpoints(folder / "run").back()) newest += size;
    all += size;
  }
  EXPECT_LE(e.checkpoint_bytes, newest);
  EXPECT_GT(e.checkpoint_bytes, newest - 3 * 4096) << "more than the files' headers";
  EXPECT_EQ(e.disk_bytes, 10 * e.checkpoint_bytes) << "with the best one";
  EXPECT_GE(e.disk_bytes + 30 * 4096, all);
  EXPECT_EQ(e.parameters, 2 * 16 + 16 + 16 * 16 + 16 + 16 + 1 + 2 * 16 * 2) << "and labels'";
  EXPECT_EQ(e.data_bytes, e.records * 2 * 4);
  EXPECT_EQ(e.buffer_bytes, 400 * (2 * 4 + 3 * 8));
  EXPECT_GT(e.peak_bytes, e.program_bytes);
  // Every part is in the sum.
  double seconds =
      e.start_seconds + e.pictures.total() + e.last_picture.total() + e.evaluations.total() + e.checkpoints.total();
  ASSERT_EQ(e.phases.size(), 2);
  for (const auto& phase : e.phases) {
    EXPECT_GT(phase.steps.seconds, 0);
    EXPECT_TRUE(phase.steps.in_whole);
    EXPECT_GT(phase.timed, 0);
    seconds += static_cast<double>(phase.name == "match" ? 13 : 20) * phase.steps.seconds;
  }
  EXPECT_DOUBLE_EQ(e.seconds(), seconds);
}

TEST_F(Estimates, LongStepsAreReckonedFromFewLangevinSteps) {
  const MakeJudge judge = [](const Recipe&) { return [](const at::Tensor&) { return 0.0; }; };
  const Estimate e = made(recipe(), 0, judge);
  EXPECT_TRUE(e.phases[0].steps.in_whole);
  EXPECT_FALSE(e.phases[1].steps.in_whole);
  EXPECT_GE(e.phases[1].steps.seconds, 49 * e.phases[1].langevin_seconds);
  EXPECT_FALSE(e.pictures.in_whole);
  Recipe few = recipe();
  few.phases[1].contrastive_divergence.steps = 4;
  few.evaluate.every = 0;
  EXPECT_TRUE(made(few, 0).phases[1].steps.in_whole);
}

// A folder that happens to hold a run's algorithms is none of theirs.
TEST_F(Estimates, TakeNoAlgorithmsFromWhereTheyAreMade) {
  const fs::path before = fs::current_path();
  fs::create_directories(folder);
  io::write_atomically(folder / "engine.json", "those of another run");
  fs::current_path(folder);
  EXPECT_EQ(model::engine_options(recipe(), {}).choices, "");
  EXPECT_EQ(model::engine_options(recipe(), folder).choices, "those of another run");
  fs::current_path(before);
}

TEST_F(Estimates, CountCheckpointsOnceEach) {
  Recipe r = recipe();
  for (const std::int64_t every : {1, 4, 13, 20, 33, 100}) {
    r.output.checkpoint_every = every;
    std::set<std::int64_t> saved = {0, 13, 33};
    for (std::int64_t step = every; step <= 33; step += every) saved.insert(step);
    EXPECT_EQ(count_checkpoints(r), static_cast<std::int64_t>(saved.size())) << every;
  }
}

TEST_F(Estimates, APhaseThatCannotTakeAStepIsNamed) {
  Recipe r = recipe();
  r.evaluate.every = 0;
  r.watchdog.energy_limit = 1e-12;
  try {
    made(r, 0);
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("phase.refine"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("energy_limit"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace igebm::training
