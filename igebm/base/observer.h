#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace igebm {

using Metrics = std::vector<std::pair<std::string, double>>;
/// Hears how much of some work is done; may throw to end it.
using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

/// What long work tells whoever cares. The library itself never prints; every member does nothing unless overridden.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void message(std::string_view /*one line*/) {}
  virtual void progress(std::string_view /*stage*/, std::int64_t /*done*/, std::int64_t /*total*/) {}
  /// Figures of a training step; those that are not of every step come without a phase.
  virtual void metrics(std::int64_t /*step*/, std::string_view /*phase*/, const Metrics&) {}
  /// Samples drawn while training, (N, C, H, W) in [0, 1] or points (N, D), on the CPU.
  virtual void samples(std::int64_t /*step*/, const at::Tensor&) {}
  /// A PNG file of them, written since.
  virtual void picture(std::int64_t /*step*/, const std::string& /*path*/) {}
};

/// Tells several, in order. None of them may be gone while it is used.
class Observers : public Observer {
 public:
  explicit Observers(std::vector<Observer*> all) : all_(std::move(all)) {}
  void add_first(Observer& one) { all_.insert(all_.begin(), &one); }
  void message(std::string_view line) override {
    for (Observer* each : all_) each->message(line);
  }
  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    for (Observer* each : all_) each->progress(stage, done, total);
  }
  void metrics(std::int64_t step, std::string_view phase, const Metrics& figures) override {
    for (Observer* each : all_) each->metrics(step, phase, figures);
  }
  void samples(std::int64_t step, const at::Tensor& x) override {
    for (Observer* each : all_) each->samples(step, x);
  }
  void picture(std::int64_t step, const std::string& path) override {
    for (Observer* each : all_) each->picture(step, path);
  }

 private:
  std::vector<Observer*> all_;
};

}  // namespace igebm
