#pragma once

#include <memory>
#include <string>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/data/data.h"
#include "igebm/model/model.h"
#include "igebm/training/recipe.h"
#include "igebm/training/sample_metric.h"

namespace igebm::training {

struct Learner;

/// The parts of a recipe's run in memory, for whoever measures them (estimate.h). Nothing is written.
class Rehearsal {
 public:
  /// Everything that a run makes before its first step.
  explicit Rehearsal(const Recipe& recipe, const MakeSampleMetric& make_metric = sample_metric);
  ~Rehearsal();

  /// The recipe's, with what it leaves for the data to say.
  const std::vector<PhaseOptions>& phases() const { return phases_; }
  /// To the beginning of `phase`, with the network as it was made; replayed chains are all on their way, as they are
  /// once a phase has gone on for a while.
  void enter(const PhaseOptions& phase);
  /// One parameter step. Returns why a run would undo it, or nothing.
  std::string step();
  /// What a classifier's run does at each checkpoint.
  void classify_validation();
  /// What samples are drawn from, as a run prepares it for each picture.
  model::Model averaged() const;

  const nn::Network& network() const;
  const data::Batches& data() const;
  const SampleMetric& metric() const;   ///< empty unless the recipe evaluates
  evaluation::Records records() const;  ///< of the data, as many as the metric is given samples
  std::string engine() const;
  std::int64_t buffer_bytes() const;      ///< of replay buffers
  std::int64_t checkpoint_bytes() const;  ///< of one saved now

 private:
  Observer silent_;
  std::unique_ptr<Learner> learner_;
  SampleMetric metric_;
  nn::Tensors start_;
  std::vector<PhaseOptions> phases_;
};

}  // namespace igebm::training
