#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "igebm/base/observer.h"
#include "igebm/io/tensorboard.h"

namespace igebm::training {

/// What the watchdog did once: at `step` it went back to step `to`, the `rollbacks`-th time.
struct Rollback {
  std::int64_t step = 0, to = 0, rollbacks = 0;
  std::string reason;
};

/// Where and why the watchdog gave up.
struct GivenUp {
  std::int64_t step = 0;
  std::string reason;
};

/// The figures that a run leaves: metrics.jsonl (docs/run.md), and the same for TensorBoard.
class Record : public Observer {
 public:
  /// Goes on at `step`, after the first `bytes` of metrics.jsonl, which are intact. Throws UserError if it cannot be
  /// written.
  Record(std::filesystem::path run, std::int64_t bytes, std::int64_t step);

  /// Length of metrics.jsonl with all that was added, which is on the disk by then: a checkpoint that says so cannot
  /// outlive it.
  std::int64_t bytes();
  /// One line; `phase` is left out where it is empty. Throws UserError if the disk is full.
  void metrics(std::int64_t step, std::string_view phase, const Metrics& figures) override;
  /// For TensorBoard alone, one of a step.
  void picture(std::int64_t step, const std::string& png) override;
  void rolled_back(const Rollback& rollback);
  void gave_up(const GivenUp& end);

 private:
  std::filesystem::path run_;
  std::ofstream file_;
  io::EventFile events_;
  std::int64_t pictured_ = -1;  // the step whose samples were shown last
};

/// How much of the first `bytes` of a run's metrics.jsonl is whole lines: all, but where something cut the file short
/// or a power cut left bytes of zero.
std::int64_t intact_metrics(const std::filesystem::path& run, std::int64_t bytes);

/// A run's figures by name, with the steps they are of, in order; without those that a rollback took back, and lines
/// that are cut short, as the last of a run that is being trained may be.
std::map<std::string, std::vector<std::pair<std::int64_t, double>>> read_metrics(const std::filesystem::path& run);

/// The rollbacks in a run's metrics.jsonl, in order; none where there is no such file.
std::vector<Rollback> read_rollbacks(const std::filesystem::path& run);
/// How its training gave up, if it did: a resume takes that back.
std::optional<GivenUp> read_gave_up(const std::filesystem::path& run);

}  // namespace igebm::training
