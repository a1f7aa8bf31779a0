#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "igebm/base/observer.h"
#include "igebm/io/files.h"
#include "igebm/training/sample_metric.h"

namespace igebm::training {

/// Trains a recipe in a run's folder: takes steps, keeps checkpoints and metrics.jsonl, draws samples, and goes back
/// to the last good checkpoint when the energies leave their bounds. Everything is a function of the recipe and of
/// what a checkpoint holds: stopped anywhere and resumed, it arrives at the same bits.
class Trainer {
 public:
  /// A new run. Throws UserError if `run` holds anything, or if the recipe cannot be built.
  static Trainer begin(const Recipe& recipe, const std::filesystem::path& run, Observer& observer,
                       const MakeSampleMetric& make_metric = sample_metric);
  /// Goes on from `from`: a run's folder (its newest checkpoint) or one of its checkpoints (later ones are dropped).
  static Trainer resume(const std::filesystem::path& from, const std::vector<std::string>& assignments,
                        Observer& observer, const MakeSampleMetric& make_metric = sample_metric);

  Trainer(Trainer&&) noexcept;
  ~Trainer();

  /// Steps until the recipe's end, or until `stop` says so, asked between steps: then saves a checkpoint and returns
  /// false. `stop_within` is asked often on the way through a step, which is then given up: it stops before that step.
  bool train(const std::function<bool()>& stop, const std::function<bool()>& stop_within = {});

  /// What pictures of samples say of where they come from, at that step; none unless it is told. They are equal where
  /// this is, in a run that went through and in one that was resumed.
  void sign_pictures(std::function<io::Texts(std::int64_t step)> texts);

  std::int64_t step() const;
  std::uint64_t seed() const;
  const std::filesystem::path& run() const;

 private:
  struct Run;
  explicit Trainer(std::unique_ptr<Run> run);
  std::unique_ptr<Run> run_;
};

}  // namespace igebm::training
