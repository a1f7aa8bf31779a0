#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "igebm/base/observer.h"
#include "igebm/io/lock.h"
#include "igebm/model/model.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/conditions.h"
#include "igebm/training/judge.h"
#include "igebm/training/recipe.h"
#include "igebm/training/record.h"

namespace igebm::training {

/// What steps have used of the data, and of streams for chains that start anew: batches and streams of noise go on from
/// there.
struct Used {
  std::int64_t records = 0, chains = 0;
  void add(const PhaseOptions& phase, std::int64_t steps);
};

/// What a recipe's training holds between steps, and what it does in and between them: the Trainer decides when, with
/// a run's folder; the Rehearsal tries it in memory.
struct State {
  Recipe recipe;
  std::filesystem::path run;     ///< empty: nothing is written
  std::optional<io::Lock> lock;  ///< on it; the last member to go
  Observer& observer;
  data::Batches data;
  std::optional<data::Batches> validation;  ///< of a classifier
  model::Conditions conditions;             ///< what the network is conditional on of the data's numbers
  at::Tensor columns;                       ///< of a batch's conditions
  c10::Device device;
  nn::Network network;
  Adam adam;
  Average average;
  std::shared_ptr<engine::Prepared> frozen;
  Objectives objectives;
  std::int64_t step = 0, rollbacks = 0;
  Used used;                          ///< by all steps so far
  std::int64_t saved_step = -1;       ///< of the newest checkpoint
  std::int64_t pictured = -1;         ///< the step whose samples TensorBoard was given last
  std::int64_t rolled_back_to = -1;   ///< by the last rollback
  std::string entered;                ///< the phase that optimiser, average and objectives are of
  std::int64_t phase_steps = 0;       ///< that these have taken
  data::Fingerprint data_print;       ///< of the training data
  std::optional<Record> record;       ///< once the run has a folder
  std::function<bool()> stop_within;  ///< asked on the way through a step
  Judge judge;                        ///< empty unless the recipe evaluates
  std::optional<Best> best;

  State(const Recipe& r, std::filesystem::path folder, Observer& o, const data::Dataset& train);

  std::uint64_t seed() const { return static_cast<std::uint64_t>(recipe.seed); }
  /// After a rollback the chains and the noise are new; the weights at the start are not.
  std::uint64_t attempt_seed() const { return seed() + (static_cast<std::uint64_t>(rollbacks) << 32); }
  /// Where a step falls: the phase's index, and the step within it.
  std::pair<std::size_t, std::int64_t> place(std::int64_t at_step) const;
  /// What the steps before use by the recipe: of a checkpoint that doesn't say.
  Used used_before(std::int64_t at_step) const;
  const PhaseOptions& phase() const { return recipe.phases[place(step).first]; }
  bool classifies() const { return network.graph().outputs > 0; }

  /// Throws UserError where one of the phases cannot be trained: before the first of them, not between.
  void try_phases() const;
  /// A new optimiser, average and objectives, as `step` asks for.
  void enter_phase();
  /// The engine's algorithms are measured before the first step and kept with the run: a resume repeats them.
  void choose_algorithms();
  void keep_algorithms() const;
  /// Other weights by the algorithms of the training's.
  std::shared_ptr<engine::Prepared> prepare(const nn::Tensors& weights) const;
  /// The labels of a batch: classes, or the conditions that the network takes.
  at::Tensor labels_of(const data::Batch& batch) const;
  /// The average of weights, to draw samples from.
  model::Model averaged() const;
  /// `count` of the samples that go with training, each of `streams` on.
  model::SampleRequest request(std::int64_t count, std::int64_t streams) const;

  /// The step's data. Throws UserError, after saving a checkpoint, where they cannot be read.
  data::Batch next_batch();
  /// One parameter step. Returns why it must be undone, or nothing.
  std::string advance();
  /// The same; but where `stop_within` says so, the step is given up and everything as before it. Then false, and no
  /// trouble.
  bool try_step(std::string& trouble);
  /// Back to the last regular checkpoint, with new chains, new noise and a smaller learning rate.
  void roll_back(const std::string& reason);

  /// The checkpoint that a rollback at `from` goes back to, and not its folder alone: that may be damaged.
  std::optional<Checkpoint> last_good(std::int64_t from);
  Checkpoint checkpoint(bool regular);
  void save(bool regular);
  /// Enters the phase that `step` asks for where the checkpoint's state is of another, or of its end.
  void restore(const Checkpoint& c);
  /// Removes checkpoints of later steps.
  void drop_later() const;

  /// A classifier's share of right answers on the pictures held out, with the average of weights.
  void record_accuracy();
  /// Samples as a picture; nothing where the data have none (io::has_picture).
  void picture(const std::filesystem::path& path, std::int64_t count);
  /// Throws UserError where the recipe evaluates and `make` is empty.
  void make_judge(const MakeJudge& make);
  /// A figure of samples drawn with the average of weights; the checkpoint is kept if it is the best so far.
  void evaluate();
};

/// Before the first step: the recipe's threads, data, network and engine.
std::unique_ptr<State> make_state(const Recipe& recipe, const std::filesystem::path& run, Observer& observer);

}  // namespace igebm::training
