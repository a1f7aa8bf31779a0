#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "igebm/base/error.h"
#include "igebm/base/observer.h"
#include "igebm/data/ahead.h"
#include "igebm/model/model.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/conditions.h"
#include "igebm/training/recipe.h"
#include "igebm/training/schedule.h"

namespace igebm::training {

/// What steps have used of streams of noise, one for each record of each step, and of those for chains that start anew;
/// and how many of the data they have seen, which is less where steps repeat a batch. What comes goes on from there.
struct Used {
  std::int64_t records = 0, chains = 0, data = 0;
  /// So many steps of the phase after its first `before`.
  void add(const PhaseOptions& phase, std::int64_t before, std::int64_t steps);
};

/// Thrown where the data of a step cannot be read; nothing of the step has happened yet.
class UnreadableData : public UserError {
 public:
  using UserError::UserError;
};

/// A recipe's training in memory: what it holds between steps, and the steps. It knows no files: the Trainer keeps its
/// checkpoints, the Rehearsal tries it.
struct Learner {
  Recipe recipe;
  Observer& observer;
  data::Batches data;
  std::optional<data::Batches> validation;  ///< of a classifier
  model::Conditions conditions;             ///< what the network is conditional on of the data's numbers
  std::vector<std::string> class_names;     ///< of the data
  at::Tensor columns;                       ///< of a batch's conditions
  c10::Device device;
  nn::Network network;
  std::unique_ptr<Optimizer> optimizer;
  Average average;
  std::shared_ptr<engine::Prepared> frozen;
  Objectives objectives;
  std::int64_t step = 0, rollbacks = 0;
  Used used;                          ///< by all steps so far
  std::set<std::string> measured;     ///< phases whose sigma_data the recipe leaves open
  std::string entered;                ///< the phase that optimiser, average and objectives are of
  std::int64_t phase_steps = 0;       ///< that these have taken
  data::Fingerprint data_print;       ///< of the training data
  std::function<bool()> stop_within;  ///< asked on the way through a step
  engine::Options engine;             ///< of the frozen networks

  /// `run`: the folder with the engine's choices to repeat; empty: none.
  Learner(const Recipe& r, const std::filesystem::path& run, Observer& o, const data::Dataset& train);

  std::uint64_t seed() const { return static_cast<std::uint64_t>(recipe.seed); }
  /// After a rollback the chains and the noise are new; the weights at the start are not.
  std::uint64_t attempt_seed() const { return seed() + (static_cast<std::uint64_t>(rollbacks) << 32); }
  /// What the steps before use by the recipe: of a checkpoint that doesn't say.
  Used used_before(std::int64_t at_step) const;
  const PhaseOptions& phase() const { return recipe.phases[place_of(recipe, step).first]; }
  /// The phase that the weights are of: at its end still that, until the next is entered.
  const PhaseOptions& trained_phase() const;
  bool classifies() const { return network.graph().outputs > 0; }

  /// Gives phases whose recipe leaves sigma_data open the one of the data.
  void measure_data();
  /// The same that other weights were trained with, whatever the data are now: of phases whose form is theirs.
  void keep_scale(const model::NoiseScale& kept);
  /// Throws UserError where one of the phases cannot be trained: before the first of them, not between.
  void try_phases() const;
  /// A new optimiser, average and objectives, as `step` asks for.
  void enter_phase();
  /// The engine's algorithms are measured before the first step and kept with the run: a resume repeats them.
  void choose_algorithms();
  /// Other weights by the algorithms of the training's.
  std::shared_ptr<engine::Prepared> prepare(const nn::EffectiveWeights& weights) const;
  /// The labels of the step's batch: classes, a share of them left out, or the conditions that the network takes.
  at::Tensor labels_of(const data::Batch& batch) const;
  /// What the network can be asked for.
  model::ConditionSpec condition_spec() const;
  /// The average of weights, to draw samples from.
  model::Model averaged() const;
  /// `count` of the samples that go with training, each of `streams` on.
  model::SampleRequest request(std::int64_t count, std::int64_t streams) const;

  /// The step's data. Throws UnreadableData.
  data::Batch next_batch();

  data::BatchesAhead ahead_{data};
  /// One parameter step. Returns why it must be undone, or nothing.
  std::string advance();
  /// The same; but where `stop_within` says so, the step is given up and everything as before it. Then false, and no
  /// trouble.
  bool try_step(std::string& trouble);
  /// All that a resume needs of it.
  Checkpoint checkpoint() const;
  /// Enters the phase that `step` asks for where the checkpoint's state is of another, or of its end.
  void restore(const Checkpoint& c);
  /// New chains and noise, for another attempt after a rollback.
  void start_anew();

  /// A classifier's share of right answers on the records held out, with the average of weights; nothing where none
  /// are.
  std::optional<double> accuracy() const;
};

/// Before the first step: the recipe's threads, data, network and engine.
std::unique_ptr<Learner> make_learner(const Recipe& recipe, const std::filesystem::path& run, Observer& observer);

}  // namespace igebm::training
