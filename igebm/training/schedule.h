#pragma once

#include "igebm/training/recipe.h"

/// When a run does what it does between steps: read by the Trainer, and by the dry run that says how often.
namespace igebm::training {

/// Where a step falls: the phase's index, and the step within it. The last phase's end is in it.
std::pair<std::size_t, std::int64_t> place_of(const Recipe& recipe, std::int64_t step);

/// What is due when `step` training steps are done, in this order.
struct Due {
  bool metrics = false;     ///< a line of metrics.jsonl, of the step just taken
  bool picture = false;     ///< of samples
  bool evaluation = false;  ///< the [evaluate] section's metric of samples
  bool phase = false;       ///< the next phase is entered
  bool accuracy = false;    ///< of a classifier, on records held out
  bool checkpoint = false;
};
Due due_after(const Recipe& recipe, std::int64_t step);

/// How often all steps of a run make each due; checkpoints without the one before the first step.
struct DueCounts {
  std::int64_t pictures = 0, evaluations = 0, accuracies = 0, checkpoints = 0;
};
DueCounts count_due(const Recipe& recipe);

}  // namespace igebm::training
