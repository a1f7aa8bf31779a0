#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "igebm/base/observer.h"
#include "igebm/training/draw.h"
#include "igebm/training/recipe.h"

namespace igebm::training {

/// A figure of quality of samples, pictures (N, C, H, W) in [0, 1] or points (N, D).
using Judge = std::function<double(const at::Tensor& samples)>;
/// The judge that a recipe's section [evaluate] asks for: evaluation::judge, which this room does not know.
using MakeJudge = std::function<Judge(const Recipe& recipe)>;

/// Trains a recipe in a run's folder: takes steps, keeps checkpoints and metrics.jsonl, draws samples, and goes back
/// to the last good checkpoint when the energies leave their bounds. Everything is a function of the recipe and of
/// what a checkpoint holds: stopped anywhere and resumed, it arrives at the same bits.
class Trainer {
 public:
  /// A new run. Throws UserError if `run` holds anything, or if the recipe cannot be built.
  static Trainer begin(const Recipe& recipe, const std::filesystem::path& run, Observer& observer,
                       const MakeJudge& make_judge = {});
  /// Goes on from `from`: a run's folder (its newest checkpoint) or one of its checkpoints (later ones are dropped).
  static Trainer resume(const std::filesystem::path& from, const std::vector<std::string>& assignments,
                        Observer& observer, const MakeJudge& make_judge = {});

  Trainer(Trainer&&) noexcept;
  ~Trainer();

  /// Steps until the recipe's end, or until `stop` says so: then saves a checkpoint and returns false.
  bool train(const std::function<bool()>& stop);

  std::int64_t step() const;
  const std::filesystem::path& run() const;

 private:
  friend class Rehearsal;
  struct State;
  explicit Trainer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The parts of a recipe's run in memory, for whoever measures them (estimate.h). Nothing is written.
class Rehearsal {
 public:
  /// Everything that a run makes before its first step.
  explicit Rehearsal(const Recipe& recipe, const MakeJudge& make_judge = {});
  ~Rehearsal();

  /// To the beginning of `phase`, with the network as it was made; replayed chains are all on their way, as they are
  /// once a phase has gone on for a while.
  void enter(const PhaseOptions& phase);
  /// One parameter step. Returns why a run would undo it, or nothing.
  std::string step();
  /// What a classifier's run does at each checkpoint.
  void classify_validation();
  /// What samples are drawn from, as a run prepares it for each picture.
  Ensemble averaged() const;

  const nn::Network& network() const;
  const data::Batches& data() const;
  const Judge& judge() const;  ///< empty unless the recipe evaluates
  std::string engine() const;
  std::int64_t buffer_bytes() const;      ///< of replay buffers
  std::int64_t checkpoint_bytes() const;  ///< of one saved now

 private:
  Observer silent_;
  std::unique_ptr<Trainer::State> state_;
  nn::Tensors start_;
};

}  // namespace igebm::training
