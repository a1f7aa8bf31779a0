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

namespace {

/// Whether a run may begin there: what its lock leaves does not count.
void require_empty(const fs::path& run) {
  std::error_code none;
  const bool folder = fs::is_directory(run, none);
  bool empty = !fs::exists(run, none) || folder;
  if (folder) {
    for (const auto& entry : fs::directory_iterator(run, none))
      empty = empty && entry.path().filename() == io::Lock::name;
  }
  if (!empty)
    throw UserError(fmt::format("{}: holds something already; resume it with --resume {}, or choose another --out",
                                run.string(), io::in_shell(run)));
}

/// The folder as it was before a run that could not be begun, so that the next attempt finds it empty.
void take_back(State& state, bool folder_was_there) {
  state.record.reset();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(state.run, ignored)) {
    if (entry.path().filename() != io::Lock::name) fs::remove_all(entry.path(), ignored);
  }
  state.lock.reset();
  if (!folder_was_there) fs::remove(state.run, ignored);
}

void write_resolved(const fs::path& run, Recipe recipe) {
  io::write_atomically(run / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, recipe); }));
}

struct Found {
  fs::path folder;
  Checkpoint checkpoint;
};

/// `from` itself, or the newest of the run.
Found find_checkpoint(const fs::path& from, const fs::path& run) {
  const bool is_checkpoint = from != run;
  const auto folders = model::list_checkpoints(run);
  if (folders.empty())
    throw UserError(fmt::format("{}: no checkpoint to resume from; start anew with: igebm train {}", run.string(),
                                io::in_shell(run / "recipe.toml")));
  const fs::path folder = is_checkpoint ? from : folders.back();
  try {
    return {folder, load_checkpoint(folder)};
  } catch (const UserError& e) {
    if (is_checkpoint || folders.size() < 2) throw;
    throw UserError(fmt::format("{}; the checkpoint before it can be resumed with: --resume {}", e.what(),
                                io::in_shell(folders[folders.size() - 2])));
  }
}

/// What checkpoints of earlier versions do not say: the phase that their state is of. The best one was kept before a
/// phase's end, the last one at the end of the recipe that the run had; the others after entering the next phase.
void fill_in_phase(Found& found, const fs::path& run) {
  Checkpoint& c = found.checkpoint;
  if (!c.phase.empty()) return;
  const Recipe before = read_recipe((run / "recipe.toml").string(), {});
  const bool at_an_end = fs::canonical(found.folder).filename() == "best" || c.step == before.total_steps();
  std::int64_t begin = 0;
  for (const PhaseOptions& phase : before.phases) {
    c.phase = phase.name;
    c.phase_steps = c.step - begin;
    begin += phase.steps;
    if (c.step < begin || (at_an_end && c.step == begin)) return;
  }
}

/// Figures of another metric, features or count do not compare.
void forget_other_figures(Checkpoint& c, const EvaluateOptions& by, Observer& observer) {
  const auto& b = c.best;
  if (!b || b->count == 0 ||
      (b->metric == by.metric && model::absolute_path(b->features) == model::absolute_path(by.features) &&
       b->count == by.count))
    return;
  observer.message(
      fmt::format("the best checkpoint, of step {}, was measured by another evaluate.metric, features or count; "
                  "the next one measured replaces it",
                  b->step));
  c.best.reset();
}

/// What makes a run go on otherwise than it would have.
void tell_changes(const Checkpoint& c, const data::Fingerprint& data, Observer& observer) {
  if (c.threads != at::get_num_threads()) {
    observer.message(
        fmt::format("the run had {} threads until now and goes on with {}: equal up to rounding, not bit for bit",
                    c.threads, at::get_num_threads()));
  }
  if (!c.data) return;
  const std::string difference = data::difference(*c.data, data);
  if (!difference.empty())
    observer.message(fmt::format("warning: the data are not those that the run had until now: {}", difference));
}

/// How much of metrics.jsonl is kept.
std::int64_t intact_until(const fs::path& run, const Checkpoint& c, Observer& observer) {
  const std::int64_t intact = intact_metrics(run, c.metrics_bytes);
  if (intact < c.metrics_bytes)
    observer.message(fmt::format(
        "warning: {}: only {} of the {} bytes that the checkpoint of step {} knows are there and whole; the "
        "figures after them are lost",
        (run / "metrics.jsonl").string(), intact, c.metrics_bytes, c.step));
  return intact;
}

}  // namespace

Trainer Trainer::begin(const Recipe& recipe, const fs::path& run, Observer& observer, const MakeJudge& make_judge) {
  require_empty(run);
  io::check_folder(run);
  auto state = make_state(recipe, run, observer);
  state->make_judge(make_judge);
  state->try_phases();
  state->choose_algorithms();
  state->enter_phase();
  // Nothing is written before all that can be refused has been tried.
  const bool was_there = fs::exists(run);
  io::make_folder(run);
  state->lock.emplace(run);
  require_empty(run);
  try {
    write_resolved(run, recipe);
    state->keep_algorithms();
    state->record.emplace(run, 0, state->step);
    state->save(true);
  } catch (...) {
    take_back(*state, was_there);
    throw;
  }
  return Trainer(std::move(state));
}

Trainer Trainer::resume(const fs::path& from, const std::vector<std::string>& assignments, Observer& observer,
                        const MakeJudge& make_judge) {
  const fs::path run = model::run_of(from);
  io::Lock lock(run);
  restore_replaced(run);
  Found found = find_checkpoint(from, run);
  fill_in_phase(found, run);
  Checkpoint& checkpoint = found.checkpoint;
  const Recipe recipe = read_recipe((run / "recipe.toml").string(), assignments);
  auto state = make_state(recipe, run, observer);
  state->lock.emplace(std::move(lock));
  if (nn::to_json(state->network.graph()) != nn::to_json(checkpoint.network.graph)) {
    throw UserError(fmt::format("{}: the recipe's network is not the one in {}", (run / "recipe.toml").string(),
                                found.folder.string()));
  }
  tell_changes(checkpoint, state->data_print, observer);
  state->make_judge(make_judge);
  state->try_phases();
  // Gone on with as it was, a run comes to a later best again; otherwise it has no place in what follows.
  const fs::path best = run / "checkpoints" / "best";
  const bool best_goes = (from != run || !assignments.empty()) && fs::exists(best / "checkpoint.json") &&
                         load_checkpoint(best).step > checkpoint.step;
  if (best_goes) checkpoint.best.reset();
  forget_other_figures(checkpoint, recipe.evaluate, observer);
  state->rollbacks = checkpoint.rollbacks;
  state->restore(checkpoint);
  state->choose_algorithms();
  io::check_writable(run / "recipe.toml");
  // Nothing is changed before all that can be refused has been tried. What goes first leaves, wherever this ends, a run
  // that has come less far.
  state->drop_later();
  if (best_goes) fs::remove_all(best);
  if (!assignments.empty()) write_resolved(run, recipe);
  state->keep_algorithms();
  state->record.emplace(run, intact_until(run, checkpoint, observer), state->step);
  observer.message(fmt::format("resuming {} at step {}", run.string(), checkpoint.step));
  return Trainer(std::move(state));
}

bool Trainer::train(const std::function<bool()>& stop, const std::function<bool()>& stop_within) {
  State& s = *state_;
  s.stop_within = stop_within;
  const std::int64_t total = s.recipe.total_steps(), first = s.step;
  bool given_up = false;
  while (s.step < total) {
    if (given_up || (stop && stop())) {
      if (s.step != s.saved_step) s.save(false);
      return false;
    }
    std::string trouble;
    given_up = !s.try_step(trouble);
    if (given_up) continue;
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
