#include "igebm/training/run_folder.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::training {

namespace fs = std::filesystem;

void RunFolder::require_empty(const fs::path& path) {
  std::error_code none;
  const bool folder = fs::is_directory(path, none);
  bool empty = !fs::exists(path, none) || folder;
  if (folder) {
    for (const auto& entry : fs::directory_iterator(path, none))
      empty = empty && entry.path().filename() == io::Lock::name;  // what a lock leaves does not count
  }
  if (!empty)
    throw UserError(fmt::format("{}: holds something already; resume it with --resume {}, or choose another --out",
                                path.string(), io::in_shell(path)));
}

void RunFolder::begin(const std::function<void()>& fill) {
  const bool was_there = fs::exists(path);
  io::make_folder(path);
  lock.emplace(path);
  require_empty(path);
  try {
    fill();
  } catch (...) {
    // So that the next attempt finds it empty.
    record.reset();
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(path, ignored)) {
      if (entry.path().filename() != io::Lock::name) fs::remove_all(entry.path(), ignored);
    }
    lock.reset();
    if (!was_there) fs::remove(path, ignored);
    throw;
  }
}

void RunFolder::write_recipe(Recipe recipe) const {
  io::write_atomically(path / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, recipe); }));
}

void RunFolder::keep_choices(const Learner& learner) const {
  const std::string choices = learner.frozen->choices();
  if (!choices.empty()) io::write_atomically(path / "engine.json", choices + "\n");
}

Checkpoint RunFolder::complete(const Learner& learner, bool regular) {
  Checkpoint c = learner.checkpoint();
  c.regular = regular;
  c.rolled_back_to = rolled_back_to;
  if (record) c.metrics_bytes = record->bytes();
  c.best = best;
  return c;
}

void RunFolder::save(const Learner& learner, bool regular) {
  save_checkpoint(path, complete(learner, regular), learner.recipe.output.keep);
  saved_step = learner.step;
}

void RunFolder::save_best(const Learner& learner, const Best& figure) {
  best = figure;
  training::save_best(path, complete(learner, true));
}

std::optional<Checkpoint> RunFolder::last_good(std::int64_t from, Observer& observer) const {
  std::optional<Checkpoint> broken;
  const auto folders = model::list_checkpoints(path);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    try {
      Checkpoint c = load_checkpoint(*folder);
      if (!c.regular || c.step > from) continue;
      if (c.step != rolled_back_to) return c;
      broken = std::move(c);
    } catch (const UserError& e) {
      observer.message(fmt::format("{}; passed over", e.what()));
    }
  }
  // Diverged twice from the same checkpoint: its weights were broken already, unless there is none before it.
  return broken;
}

void RunFolder::go_on_from(const Checkpoint& checkpoint) {
  saved_step = checkpoint.step;
  rolled_back_to = checkpoint.rolled_back_to;
  best = checkpoint.best;
}

void RunFolder::drop_later(std::int64_t step) const {
  std::error_code ignored;
  const auto folders = model::list_checkpoints(path);
  // The newest first: whatever ends this leaves a run that has come less far.
  for (auto folder = folders.rbegin(); folder != folders.rend() && std::stoll(folder->filename()) > step; ++folder)
    fs::remove_all(*folder, ignored);
}

}  // namespace igebm::training
