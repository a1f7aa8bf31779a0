#include "igebm/training/schedule.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/training/run_fixture.h"

namespace igebm::training {
namespace {

// What the dry run counts is what the trainer does, step by step.
TEST(Schedule, CountsWhatFallsDue) {
  Recipe r = small();  // phases of 13 and 20 steps
  for (const char* kind : {"mlp", "classifier"}) {
    for (const std::int64_t every : {0, 1, 4, 13, 20, 33, 100}) {
      r.network.kind = kind;
      r.output.checkpoint_every = std::max<std::int64_t>(every, 1);
      r.output.samples_every = r.evaluate.every = every;
      DueCounts walked;
      for (std::int64_t step = 1; step <= r.total_steps(); ++step) {
        const Due due = due_after(r, step);
        walked.pictures += due.picture ? 1 : 0;
        walked.evaluations += due.evaluation ? 1 : 0;
        walked.accuracies += due.accuracy ? 1 : 0;
        walked.checkpoints += due.checkpoint ? 1 : 0;
        EXPECT_EQ(due.phase, step == 13) << step;
      }
      const DueCounts counted = count_due(r);
      EXPECT_EQ(counted.pictures, walked.pictures) << kind << every;
      EXPECT_EQ(counted.evaluations, walked.evaluations) << kind << every;
      EXPECT_EQ(counted.accuracies, walked.accuracies) << kind << every;
      EXPECT_EQ(counted.checkpoints, walked.checkpoints) << kind << every;
    }
  }
}

TEST(Schedule, SavesAtTheIntervalAtAPhasesEndAndAtTheEnd) {
  Recipe r = small();
  r.output.checkpoint_every = 10;
  std::set<std::int64_t> saved;
  for (std::int64_t step = 1; step <= 33; ++step) {
    if (due_after(r, step).checkpoint) saved.insert(step);
  }
  EXPECT_EQ(saved, (std::set<std::int64_t>{10, 13, 20, 30, 33}));
  EXPECT_EQ(place_of(r, 12), std::pair(std::size_t{0}, std::int64_t{12}));
  EXPECT_EQ(place_of(r, 13), std::pair(std::size_t{1}, std::int64_t{0}));
  EXPECT_EQ(place_of(r, 33), std::pair(std::size_t{1}, std::int64_t{20}));
}

}  // namespace
}  // namespace igebm::training
