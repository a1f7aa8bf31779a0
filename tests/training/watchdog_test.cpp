#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/contrastive_divergence.h"
#include "igebm/training/record.h"
#include "igebm/training/trainer.h"
#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

class Watchdog : public RunTest {
 protected:
  /// Trains until it gives up; what it says.
  std::string complaint(const Recipe& recipe) {
    try {
      Trainer::begin(recipe, folder / "run", silent).train({});
      ADD_FAILURE() << "expected the training to give up";
    } catch (const UserError& e) {
      return e.what();
    }
    return {};
  }
  void expect_rollbacks(std::size_t count, const std::string& reason) {
    const auto rollbacks = read_rollbacks(folder / "run");
    ASSERT_EQ(rollbacks.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_NE(rollbacks[i].reason.find(reason), std::string::npos) << rollbacks[i].reason;
      EXPECT_EQ(rollbacks[i].rollbacks, static_cast<std::int64_t>(i) + 1);
      EXPECT_LE(rollbacks[i].to, rollbacks[i].step);
    }
  }
  void expect_last_is_finite() {
    for (const auto& [name, t] : load_checkpoint(model::list_checkpoints(folder / "run").back()).network.parameters)
      EXPECT_TRUE(t.isfinite().all().item<bool>()) << name;
  }
  static void expect_text(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
};

TEST_F(Watchdog, AnAbsurdLearningRateIsRolledBackAndThenReported) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e6, .clip = Clip::none};
  recipe.watchdog = {.energy_limit = 1e4, .rollbacks = 3, .learning_rate_factor = 0.5};
  const std::string said = complaint(recipe);
  expect_text(said, "diverged");
  expect_rollbacks(3, "beyond watchdog.loss_limit");
  expect_last_is_finite();  // still there and whole
  const auto end = read_gave_up(folder / "run");
  ASSERT_TRUE(end.has_value());
  EXPECT_GT(end->step, 13);
  expect_text(end->reason, "beyond watchdog.loss_limit");
  expect_text(said, end->reason);
}

TEST_F(Watchdog, GivenUpAndResumedGivesUpAgainOrGoesOnAsIfItHadNot) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e6, .clip = Clip::none};
  recipe.watchdog = {.energy_limit = 1e4, .rollbacks = 3, .learning_rate_factor = 0.5};
  complaint(recipe);
  const auto first = contents(folder / "run");
  const Checkpoint newest = load_checkpoint(model::list_checkpoints(folder / "run").back());
  EXPECT_LT(newest.rollbacks, 3) << "another seed would test more";
  EXPECT_THROW(Trainer::resume(folder / "run", {}, silent).train({}), UserError);
  EXPECT_TRUE(contents(folder / "run") == first);
  EXPECT_TRUE(Trainer::resume(folder / "run", {"phase.refine.optimizer.learning_rate=1e-4"}, silent).train({}));
  EXPECT_FALSE(read_gave_up(folder / "run").has_value());
  expect_rollbacks(static_cast<std::size_t>(newest.rollbacks), "beyond watchdog.loss_limit");
}

TEST_F(Watchdog, RecoversWithASmallerLearningRateAndResumesBitForBit) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e4, .clip = Clip::none};
  recipe.watchdog = {.energy_limit = 1e3, .rollbacks = 5, .learning_rate_factor = 1e-8};
  recipe = with_choices(recipe);
  EXPECT_TRUE(Trainer::begin(recipe, folder / "run", silent).train({}));
  EXPECT_EQ(load_checkpoint(model::list_checkpoints(folder / "run").back()).rollbacks, 1);
  expect_rollbacks(1, "beyond watchdog.loss_limit");
  for (const std::int64_t calls : {14, 15, 16, 20, 27}) {  // before, at and after the rollback
    const fs::path parts = folder / std::to_string(calls);
    Trainer::begin(recipe, parts, silent).train(stop_after(calls));
    Trainer::resume(parts, {}, silent).train({});
    auto whole = contents(folder / "run"), other = contents(parts);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(other[name] == bytes) << name << " after " << calls;
  }
}

// Which checkpoint a rollback goes back to depends on where the one before it went.
TEST_F(Watchdog, SeveralRollbacksInARowResumeBitForBit) {
  Recipe recipe = small();
  recipe.phases[1].optimizer = {.learning_rate = 1e4, .clip = Clip::none};
  recipe.watchdog = {.energy_limit = 1e3, .rollbacks = 9, .learning_rate_factor = 0.1};
  recipe = with_choices(recipe);
  EXPECT_TRUE(Trainer::begin(recipe, folder / "run", silent).train({}));
  const auto rollbacks = read_rollbacks(folder / "run");
  ASSERT_GE(rollbacks.size(), 3U) << "another seed would test more";
  EXPECT_LT(rollbacks[1].to, rollbacks[0].to) << "another seed would test more";
  const auto whole = contents(folder / "run");
  for (std::int64_t calls = 14; calls < 14 + 8; ++calls) {
    const fs::path parts = folder / std::to_string(calls);
    Trainer::begin(recipe, parts, silent).train(stop_after(calls));
    Trainer::resume(parts, {}, silent).train({});
    auto other = contents(parts);
    for (const auto& [name, bytes] : whole) EXPECT_TRUE(other[name] == bytes) << name << " after " << calls;
  }
}

TEST_F(Watchdog, ADamagedCheckpointIsPassedOver) {
  struct : Observer {
    void message(std::string_view text) override { said += text; }
    std::string said;
  } observer;
  Recipe recipe = small();
  recipe.watchdog = {.energy_limit = 1e3, .rollbacks = 9, .learning_rate_factor = 1e-8};
  Trainer::begin(recipe, folder / "run", silent).train(stop_after(20));
  Checkpoint broken = load_checkpoint(model::list_checkpoints(folder / "run").back());
  io::write_atomically(folder / "run/checkpoints/000020/state.safetensors", "half a file");
  EXPECT_EQ(broken.step, 20);
  broken.step = 21;
  broken.network.parameters.begin()->second.fill_(NAN);
  save_checkpoint(folder / "run", broken, 0);
  EXPECT_TRUE(Trainer::resume(folder / "run/checkpoints/000021", {}, observer).train({}));
  const auto rollbacks = read_rollbacks(folder / "run");
  ASSERT_EQ(rollbacks.size(), 2U);
  EXPECT_EQ(rollbacks[0].to, 21);
  EXPECT_EQ(rollbacks[1].to, 15);
  expect_text(observer.said, "checkpoints/000020/state.safetensors: damaged");
  expect_last_is_finite();
}

TEST_F(Watchdog, EnergiesBeyondTheirLimitAreNamed) {
  Recipe recipe = small();
  recipe.watchdog = {.energy_limit = 1e-6, .rollbacks = 2};
  expect_text(complaint(recipe), "beyond watchdog.energy_limit");
  expect_rollbacks(2, "energy/");
}

// Without contrastive divergence there is no mean energy to look at; this rate leaves all numbers finite.
TEST_F(Watchdog, MatchingThatGoesAstrayIsRolledBackThoughItStaysFinite) {
  Recipe recipe = small();
  recipe.phases[0].optimizer = {.learning_rate = 3, .clip = Clip::none};
  recipe.watchdog.rollbacks = 2;  // the third halving of the rate would be enough
  expect_text(complaint(recipe), "times that of a network that knows nothing, beyond watchdog.loss_limit");
  expect_rollbacks(2, "the loss is");
  expect_last_is_finite();
}

TEST_F(Watchdog, ChainsThatAreNotFiniteAreCounted) {
  Recipe recipe = small();
  recipe.phases[1].objectives.find<ContrastiveDivergenceOptions>()->langevin.noise =
      3e38;  // x overflows, and then the energy
  expect_text(complaint(recipe), "steps of chains met energies or gradients that are not finite");
  expect_rollbacks(5, "steps of chains met energies or gradients that are not finite");
  expect_last_is_finite();
}

// A record so far out that the loss overflows: the data are the same after each rollback.
TEST_F(Watchdog, DataThatOverflowAreReported) {
  fs::create_directories(folder);
  at::manual_seed(0);
  at::Tensor x = at::randn({64, 2});
  x[5].fill_(1e30);
  io::write_npz(folder / "points.npz", {{"points", x}});
  Recipe recipe = small();
  recipe.network.labels = false;
  recipe.data = {.name = "npz", .path = folder / "points.npz", .validation = 0};
  expect_text(complaint(recipe), "not finite");
  expect_rollbacks(5, "not finite");
  expect_last_is_finite();
}

TEST_F(Watchdog, DataThatAreNotFiniteAreRefused) {
  fs::create_directories(folder);
  for (const char* array : {"points", "conditions"}) {
    std::map<std::string, at::Tensor> arrays = {{"points", at::zeros({64, 2})}, {"conditions", at::zeros({64, 3})}};
    arrays[array][7][1] = NAN;
    io::write_npz(folder / "points.npz", arrays);
    Recipe recipe = small();
    recipe.network.labels = false;
    recipe.data = {.name = "npz", .path = folder / "points.npz", .validation = 0};
    expect_text(complaint(recipe), std::string(array) + ": has values that are not finite");
  }
}

TEST_F(Watchdog, ABrokenCheckpointIsLeftForTheOneBefore) {
  Trainer::begin(small(), folder / "run", silent).train(stop_after(20));
  Checkpoint broken = load_checkpoint(model::list_checkpoints(folder / "run").back());
  EXPECT_EQ(broken.step, 20);
  broken.network.parameters.begin()->second.fill_(NAN);
  save_checkpoint(folder / "run", broken, 0);
  EXPECT_TRUE(Trainer::resume(folder / "run", {}, silent).train({}));
  expect_rollbacks(2, "not finite");
  const auto rollbacks = read_rollbacks(folder / "run");
  EXPECT_EQ(rollbacks[0].to, 20);
  EXPECT_EQ(rollbacks[1].to, 15);
  expect_last_is_finite();
}

}  // namespace
}  // namespace igebm::training
