#include "igebm/training/schedule.h"

namespace igebm::training {
namespace {

bool classifies(const Recipe& recipe) { return recipe.network.kind == "classifier"; }

bool falls_on(std::int64_t every, std::int64_t step) { return every > 0 && step % every == 0; }

}  // namespace

std::pair<std::size_t, std::int64_t> place_of(const Recipe& recipe, std::int64_t step) {
  std::size_t index = 0;
  while (index + 1 < recipe.phases.size() && step >= recipe.phases[index].steps) step -= recipe.phases[index++].steps;
  return {index, step};
}

Due due_after(const Recipe& recipe, std::int64_t step) {
  const bool last = step == recipe.total_steps();
  Due due;
  due.metrics = last || falls_on(recipe.output.metrics_every, step);
  due.picture = !classifies(recipe) && falls_on(recipe.output.samples_every, step);
  due.evaluation = recipe.evaluate.every > 0 && (last || falls_on(recipe.evaluate.every, step));
  due.phase = !last && place_of(recipe, step).second == 0;
  due.checkpoint = last || due.phase || falls_on(recipe.output.checkpoint_every, step);
  due.accuracy = due.checkpoint && classifies(recipe);
  return due;
}

DueCounts count_due(const Recipe& recipe) {
  const std::int64_t total = recipe.total_steps(), checkpoint = recipe.output.checkpoint_every;
  const auto with_last = [&](std::int64_t every) { return (total + every - 1) / every; };
  DueCounts count;
  if (!classifies(recipe) && recipe.output.samples_every > 0) count.pictures = total / recipe.output.samples_every;
  if (recipe.evaluate.every > 0) count.evaluations = with_last(recipe.evaluate.every);
  count.checkpoints = total / checkpoint;
  std::int64_t end = 0;
  for (const PhaseOptions& phase : recipe.phases) {
    end += phase.steps;
    if (end % checkpoint != 0) ++count.checkpoints;
  }
  if (classifies(recipe)) count.accuracies = count.checkpoints;
  return count;
}

}  // namespace igebm::training
