#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "igebm/base/observer.h"
#include "igebm/io/lock.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/learner.h"
#include "igebm/training/record.h"

namespace igebm::training {

/// The folder of a run that is being trained (docs/run.md): locked, with its recipe, checkpoints and figures.
struct RunFolder {
  std::filesystem::path path;
  std::optional<io::Lock> lock;      ///< on it; the last member to go
  std::optional<Record> record;      ///< its figures
  std::int64_t saved_step = -1;      ///< of the newest checkpoint
  std::int64_t rolled_back_to = -1;  ///< by the last rollback
  std::optional<Best> best;          ///< of checkpoints/best

  /// Throws UserError where a new run may not begin.
  static void require_empty(const std::filesystem::path& path);
  /// Makes and locks the folder of a new run, and calls `fill`; takes back all that is there by then if that throws.
  void begin(const std::function<void()>& fill);

  void write_recipe(Recipe recipe) const;
  /// The engine's algorithms, for a resume to repeat.
  void keep_choices(const Learner& learner) const;

  void save(const Learner& learner, bool regular);
  /// As the best by that figure.
  void save_best(const Learner& learner, const Best& figure);
  /// The checkpoint that a rollback at step `from` goes back to, and not its folder alone: that may be damaged.
  std::optional<Checkpoint> last_good(std::int64_t from, Observer& observer) const;
  /// What the folder knows at a checkpoint that training goes on from.
  void go_on_from(const Checkpoint& checkpoint);
  /// Removes checkpoints of steps after `step`.
  void drop_later(std::int64_t step) const;

 private:
  Checkpoint complete(const Learner& learner, bool regular);
};

}  // namespace igebm::training
