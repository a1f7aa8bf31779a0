#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "igebm/training/sample_metric.h"

/// What a recipe's run would take, found out by doing a little of everything that it does, in memory.
namespace igebm::training {

struct EstimateOptions {
  double seconds =
      10;  ///< about so long is each phase timed, and each kind of picture; long steps are taken all the same
};

/// Something that a run does `count` times.
struct Repeated {
  std::int64_t count = 0;
  double seconds = 0;    ///< of each
  bool in_whole = true;  ///< it was timed as it is; false: fewer Langevin or flow steps were, and the rest reckoned
  double total() const { return static_cast<double>(count) * seconds; }
};

struct PhaseEstimate {
  std::string name;
  Repeated steps;               ///< seconds: the median
  std::int64_t timed = 0;       ///< steps taken for it, after a warm-up
  double langevin_seconds = 0;  ///< of a Langevin step in them, where the step was not timed in whole
};

struct Estimate {
  std::string network, engine, device;
  std::int64_t threads = 0;
  std::int64_t parameters = 0;
  std::vector<std::int64_t> input_shape;

  std::int64_t records = 0;  ///< of training

  // Bytes of memory.
  std::int64_t data_bytes = 0;       ///< of pictures or points as kept
  std::int64_t parameter_bytes = 0;  ///< of the network, its gradient, Adam's two moments and the average
  std::int64_t buffer_bytes = 0;     ///< of the largest replay buffer
  std::int64_t program_bytes = 0;    ///< of the process before anything was read
  std::int64_t peak_bytes = 0;       ///< of the process at most: measured, and a checkpoint on its way out
  std::int64_t device_bytes = 0;     ///< on a CUDA device at most: measured; 0 on the CPU

  double start_seconds = 0;  ///< until the first step: data, network, the choice of algorithms
  std::vector<PhaseEstimate> phases;
  Repeated pictures, last_picture;  ///< samples/ and samples.png
  Repeated evaluations;
  Repeated accuracies;   ///< of a classifier
  Repeated checkpoints;  ///< at `checkpoint_rate`: the one thing that is not measured

  std::int64_t checkpoint_bytes = 0;  ///< the largest
  std::int64_t disk_bytes = 0;        ///< of those that are kept at the end, the best included
  double seconds() const;             ///< all of it
};

constexpr double checkpoint_rate = 300e6;  ///< bytes a second, checksums included

/// Takes steps of each phase with the real data, draws a few steps of a picture, and evaluates once. A step of
/// contrastive divergence that would take too long is reckoned from steps with few Langevin steps. Writes nothing.
/// Throws UserError like Trainer::begin, and where a phase cannot take a step.
Estimate estimate(const Recipe& recipe, const EstimateOptions& options, Observer& observer,
                  const MakeSampleMetric& make_metric = sample_metric);

}  // namespace igebm::training
