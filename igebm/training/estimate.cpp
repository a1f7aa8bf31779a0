#include "igebm/training/estimate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "igebm/base/clock.h"
#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/training/rehearsal.h"
#include "igebm/training/schedule.h"

namespace igebm::training {
namespace {

template <class Work>
double time_of(const Work& work) {
  const double start = now();
  work();
  return now() - start;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Times steps of one phase.
class Steps {
 public:
  Steps(Rehearsal& run, PhaseOptions phase) : run_(run), phase_(std::move(phase)) { run_.enter(phase_); }

  /// Seconds of a step. A network that never saw the phases before may diverge: then from the start again.
  double take() {
    for (int attempt = 0; attempt < 3; ++attempt) {
      std::string trouble;
      const double seconds = time_of([&] { trouble = run_.step(); });
      if (trouble.empty()) return seconds;
      trouble_ = trouble;
      run_.enter(phase_);
    }
    throw UserError(
        fmt::format("phase.{}: cannot be timed: a step from the network's start fails: {}", phase_.name, trouble_));
  }

 private:
  Rehearsal& run_;
  PhaseOptions phase_;
  std::string trouble_;
};

PhaseEstimate time_in_whole(Rehearsal& run, const PhaseOptions& phase, double budget) {
  constexpr std::size_t enough = 30;
  const double start = now();
  Steps steps(run, phase);
  steps.take();
  if (now() - start < budget / 10) steps.take();
  std::vector<double> times;
  do {
    times.push_back(steps.take());
  } while (now() - start < (times.size() < enough ? budget : budget / 10));
  return {phase.name, {phase.steps, median(times)}, static_cast<std::int64_t>(times.size())};
}

PhaseEstimate time_phase(Rehearsal& run, const PhaseOptions& phase, double budget) {
  constexpr std::int64_t few = 1, more = 4;
  const auto keeps_chains = std::ranges::find_if(phase.objectives, [](const auto& t) { return t->chain_steps(); });
  const std::int64_t langevin = keeps_chains == phase.objectives.end() ? 0 : *(*keeps_chains)->chain_steps();
  if (langevin <= 2 * more) return time_in_whole(run, phase, budget);
  const auto with = [&](std::int64_t steps) {
    PhaseOptions p = phase;
    for (const auto& term : p.objectives) {
      if (term->chain_steps() != nullptr) *term->chain_steps() = steps;
    }
    return p;
  };
  const double start = now();
  std::vector<double> short_times, long_times;
  double each = 0, whole = 0;
  do {
    {
      Steps steps(run, with(few));
      if (short_times.empty()) steps.take();
      short_times.push_back(steps.take());
    }
    long_times.push_back(Steps(run, with(more)).take());
    each = std::max(0.0, (median(long_times) - median(short_times)) / static_cast<double>(more - few));
    whole = median(short_times) + static_cast<double>(langevin - few) * each;
    // Warm-up and three steps fit: no need to reckon.
    if (4 * whole < budget) return time_in_whole(run, phase, budget);
  } while (now() - start < budget / 2);
  return {
      phase.name, {phase.steps, whole, false}, static_cast<std::int64_t>(short_times.size() + long_times.size()), each};
}

/// Seconds of `count` samples and what is done with them.
class Pictures {
 public:
  Pictures(const Recipe& recipe, const Rehearsal& run, double budget) : recipe_(recipe), run_(run), budget_(budget) {}

  /// `times` pictures of `count` samples each.
  Repeated repeated(std::int64_t times, std::int64_t count) const {
    if (times == 0 || count == 0) return {};
    const at::NoGradGuard no_grad;
    constexpr std::int64_t few = 1, more = 4, chunk_size = 256;
    std::optional<model::Model> model;
    const double preparation = time_of([&] { model = run_.averaged(); });
    const auto seconds = [&](const sampling::SamplerOptions& sampler, std::int64_t samples) {
      return time_of([&] {
        model->sample({.count = samples, .seed = 0, .sampler = sampler, .batch = chunk_size, .energies = false});
      });
    };
    // Of annealed dynamics a part is a level, else a gradient.
    const bool annealed = model->graph().noise_features > 0;
    const sampling::SamplerOptions s = sampling::within_budget(recipe_.sampling, annealed);
    const std::int64_t parts =
        annealed ? s.annealing.levels : s.steps + s.flow.steps * (s.flow.method == sampling::FlowMethod::heun ? 2 : 1);
    const std::int64_t chunk = std::min(count, chunk_size);
    if (parts > more) {
      const auto of_parts = [&](std::int64_t number) {
        sampling::SamplerOptions part = s;
        part.flow.steps = 0;
        (annealed ? part.annealing.levels : part.steps) = number;
        return seconds(part, chunk);
      };
      of_parts(few);  // warm-up
      const double short_time = of_parts(few), long_time = of_parts(more);
      const double each = std::max(0.0, (long_time - short_time) / static_cast<double>(more - few));
      const double whole = (short_time + static_cast<double>(parts - few) * each) * static_cast<double>(count) /
                           static_cast<double>(chunk);
      if (whole > budget_ / 4) return {times, preparation + whole, false};
    }
    return {times, preparation + seconds(s, count)};
  }

 private:
  const Recipe& recipe_;
  const Rehearsal& run_;
  double budget_;
};

/// The density behind points in the plane, as a picture has it.
double time_of_density(const Rehearsal& run) {
  if (run.network().graph().input_shape != std::vector<std::int64_t>{2}) return 0;
  const at::NoGradGuard no_grad;
  const model::Model model = run.averaged();
  return time_of([&] { model::energies_in_plane(model, 1); });
}

}  // namespace

double Estimate::seconds() const {
  double sum = start_seconds;
  for (const auto& phase : phases) sum += phase.steps.total();
  for (const Repeated& r : {pictures, last_picture, evaluations, accuracies, checkpoints}) sum += r.total();
  return sum;
}

Estimate estimate(const Recipe& recipe, const EstimateOptions& options, Observer& observer,
                  const MakeSampleMetric& make_metric) {
  Estimate e;
  const c10::Device device = find_device(recipe.device);
  e.program_bytes = peak_memory(c10::kCPU);
  const double start = now();
  Rehearsal run(recipe, make_metric);
  e.start_seconds = now() - start;

  const auto& graph = run.network().graph();
  const bool classifies = graph.outputs > 0;
  e.network = recipe.network.kind;
  e.engine = run.engine();
  e.device = device_name(device);
  e.threads = at::get_num_threads();
  e.parameters = run.network().parameter_count();
  e.input_shape = graph.input_shape;
  e.records = run.data().size();
  e.data_bytes = run.data().bytes();
  e.parameter_bytes = 5 * 4 * e.parameters;

  for (const auto& phase : run.phases()) {
    observer.message(fmt::format("timing phase {}", phase.name));
    e.phases.push_back(time_phase(run, phase, options.seconds));
    e.buffer_bytes = std::max(e.buffer_bytes, run.buffer_bytes());
    e.checkpoint_bytes = std::max(e.checkpoint_bytes, run.checkpoint_bytes());
  }

  const DueCounts due = count_due(recipe);
  if (!classifies) {
    observer.message("timing pictures");
    const Pictures pictures(recipe, run, options.seconds);
    const auto& o = recipe.output;
    const bool drawn = io::has_picture(graph.input_shape);
    e.pictures = pictures.repeated(drawn ? due.pictures : 0, o.samples);
    e.last_picture = pictures.repeated(drawn ? 1 : 0, 100);
    const double density = time_of_density(run);
    e.pictures.seconds += density;
    e.last_picture.seconds += density;
    if (run.metric()) {
      e.evaluations = pictures.repeated(due.evaluations, recipe.evaluate.count);
      const evaluation::Records records = run.records();
      e.evaluations.seconds += time_of([&] { run.metric()(records); });
    }
  }
  e.checkpoints.count = 1 + due.checkpoints;  // the first is saved before any step
  e.checkpoints.seconds = static_cast<double>(e.checkpoint_bytes) / checkpoint_rate;
  if (classifies) e.accuracies = {due.accuracies, time_of([&] { run.classify_validation(); })};
  const std::int64_t keep = recipe.output.keep;
  const std::int64_t kept = keep > 0 ? std::min(keep, e.checkpoints.count) : e.checkpoints.count;
  e.disk_bytes = e.checkpoint_bytes * (kept + (recipe.evaluate.every > 0 ? 1 : 0));
  e.peak_bytes = peak_memory(c10::kCPU) + e.checkpoint_bytes;
  if (device.is_cuda()) e.device_bytes = peak_memory(device);
  return e;
}

}  // namespace igebm::training
