#include "igebm/training/trainer.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/training/state.h"

namespace igebm::training {

namespace fs = std::filesystem;

Trainer::Trainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;
std::int64_t Trainer::step() const { return state_->step; }
const fs::path& Trainer::run() const { return state_->run; }

Trainer Trainer::begin(const Recipe& recipe, const fs::path& run, Observer& observer, const MakeJudge& make_judge) {
  if (fs::exists(run) && !fs::is_empty(run)) {
    throw UserError(fmt::format("{}: holds something already; resume it with --resume {}, or choose another --out",
                                run.string(), run.string()));
  }
  auto state = make_state(recipe, run, observer);
  state->make_judge(make_judge);
  std::error_code error;
  fs::create_directories(run, error);
  if (error) throw UserError(fmt::format("{}: cannot be made: {}", run.string(), error.message()));
  Recipe resolved = recipe;
  io::write_atomically(run / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, resolved); }));
  state->record.emplace(run, 0, state->step);
  state->choose_algorithms();
  state->enter_phase();
  state->save(true);
  return Trainer(std::move(state));
}

Trainer Trainer::resume(const fs::path& from, const std::vector<std::string>& assignments, Observer& observer,
                        const MakeJudge& make_judge) {
  const bool is_checkpoint = fs::exists(from / "checkpoint.json");
  const fs::path run = run_of(from);
  const auto folders = list_checkpoints(run);
  if (folders.empty())
    throw UserError(fmt::format("{}: no checkpoint to resume from; start anew with: igebm train {}", run.string(),
                                (run / "recipe.toml").string()));
  const fs::path folder = is_checkpoint ? from : folders.back();
  Checkpoint checkpoint;
  try {
    checkpoint = load_checkpoint(folder);
  } catch (const UserError& e) {
    if (is_checkpoint || folders.size() < 2) throw;
    throw UserError(fmt::format("{}; the checkpoint before it can be resumed with: --resume {}", e.what(),
                                folders[folders.size() - 2].string()));
  }
  Recipe recipe = read_recipe((run / "recipe.toml").string(), assignments);
  auto state = make_state(recipe, run, observer);
  if (checkpoint.threads != at::get_num_threads()) {
    observer.message(
        fmt::format("the run had {} threads until now and goes on with {}: equal up to rounding, not bit for bit",
                    checkpoint.threads, at::get_num_threads()));
  }
  if (nn::to_json(state->network.graph()) != nn::to_json(checkpoint.network.graph)) {
    throw UserError(
        fmt::format("{}: the recipe's network is not the one in {}", (run / "recipe.toml").string(), folder.string()));
  }
  if (!assignments.empty())
    io::write_atomically(run / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, recipe); }));
  for (const auto& later : folders) {
    if (std::stoll(later.filename()) > checkpoint.step) fs::remove_all(later);
  }
  state->make_judge(make_judge);
  // Gone on with as it was, a run comes to a later best again; otherwise it has no place in what follows.
  const fs::path best = run / "checkpoints" / "best";
  if ((is_checkpoint || !assignments.empty()) && fs::exists(best / "checkpoint.json") &&
      load_checkpoint(best).step > checkpoint.step) {
    fs::remove_all(best);
    checkpoint.best.reset();
  }
  // Figures of another metric, features or count do not compare.
  const EvaluateOptions& by = recipe.evaluate;
  if (const auto& b = checkpoint.best;
      b && b->count > 0 &&
      (b->metric != by.metric || absolute_path(b->features) != absolute_path(by.features) || b->count != by.count)) {
    observer.message(
        fmt::format("the best checkpoint, of step {}, was measured by another evaluate.metric, features or count; "
                    "the next one measured replaces it",
                    b->step));
    checkpoint.best.reset();
  }
  state->rollbacks = checkpoint.rollbacks;
  state->restore(checkpoint);
  // The best one is kept before a phase's end, the others after it.
  if (fs::canonical(folder).filename() == "best" && state->step < recipe.total_steps() &&
      state->place(state->step).second == 0)
    state->enter_phase();
  state->record.emplace(run, checkpoint.metrics_bytes, state->step);
  state->choose_algorithms();
  observer.message(fmt::format("resuming {} at step {}", run.string(), checkpoint.step));
  return Trainer(std::move(state));
}

bool Trainer::train(const std::function<bool()>& stop) {
  State& s = *state_;
  const std::int64_t total = s.recipe.total_steps(), first = s.step;
  while (s.step < total) {
    if (stop && stop()) {
      if (s.step != s.saved_step) s.save(false);
      return false;
    }
    const std::string trouble = s.advance();
    if (!trouble.empty()) {
      s.roll_back(trouble);
      continue;
    }
    // To the phase's end: other phases' steps take other times.
    const auto [index, within] = s.place(s.step - 1);
    const PhaseOptions& phase = s.recipe.phases[index];
    s.observer.progress(phase.name, s.step, s.step - 1 - within + phase.steps);
    if (s.recipe.output.samples_every > 0 && s.step % s.recipe.output.samples_every == 0 && !s.classifies()) {
      s.picture(s.run / "samples" / fmt::format("{:06}.png", s.step), s.recipe.output.samples);
    }
    if (s.recipe.evaluate.every > 0 && (s.step % s.recipe.evaluate.every == 0 || s.step == total)) s.evaluate();
    const bool phase_ends = s.step < total && s.place(s.step).second == 0;
    if (phase_ends) s.enter_phase();
    if (s.step % s.recipe.output.checkpoint_every == 0 || phase_ends || s.step == total) {
      if (s.classifies()) s.record_accuracy();
      s.save(true);
    }
  }
  // One that is there already may be of an earlier end: a finished run can be given more steps.
  const fs::path picture = s.run / "samples.png";
  if (!s.classifies() && (s.step > first || !fs::exists(picture))) s.picture(picture, 100);
  return true;
}

}  // namespace igebm::training
