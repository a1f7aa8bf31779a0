#include "igebm/training/trainer.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/evaluation/evaluate.h"
#include "igebm/evaluation/metrics.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/training/run_folder.h"
#include "igebm/training/start.h"

namespace igebm::training {

namespace fs = std::filesystem;

/// A learner, its folder, and what hears of them.
struct Trainer::Run {
  Observers observers;
  std::unique_ptr<Learner> learner;
  RunFolder folder;
  SampleMetric metric;  ///< empty unless the recipe evaluates
  std::function<io::Texts(std::int64_t step)> texts;

  Run(const Recipe& recipe, const fs::path& path, Observer& caller, const MakeSampleMetric& make_metric)
      : observers({&caller}), learner(make_learner(recipe, path, observers)), folder{.path = path} {
    if (recipe.evaluate.every > 0) metric = make_metric(recipe);
    learner->try_phases();
  }

  /// Figures go to the record before anyone hears of them.
  void start_record(std::int64_t intact_bytes) {
    observers.add_first(folder.record.emplace(folder.path, intact_bytes, learner->step));
  }
  void roll_back(const std::string& reason);
  /// Samples as a picture; nothing where the data have none (io::has_picture). `traced`: what their chains went through
  /// as JSON beside it.
  void picture(const fs::path& path, std::int64_t count, bool traced = false);
  /// A figure of samples drawn with the average of weights; the checkpoint is kept if it is the best so far.
  void evaluate();
  void tell_accuracy();
  /// A step, where nothing keeps it from being taken.
  enum class Step { taken, given_up, undone };
  Step step();
  void after_step();
};

Trainer::Trainer(std::unique_ptr<Run> run) : run_(std::move(run)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;
void Trainer::sign_pictures(std::function<io::Texts(std::int64_t step)> texts) { run_->texts = std::move(texts); }
std::int64_t Trainer::step() const { return run_->learner->step; }
std::uint64_t Trainer::seed() const { return static_cast<std::uint64_t>(run_->learner->recipe.seed); }
const fs::path& Trainer::run() const { return run_->folder.path; }

namespace {

constexpr std::int64_t picture_streams = std::int64_t{1} << 40;  // far from the training's chains
constexpr std::int64_t quality_streams = std::int64_t{3} << 40;

struct Found {
  fs::path folder;
  Checkpoint checkpoint;
};

/// Means over the first batch's chains, step by step.
struct StepMeans {
  std::vector<double> energy, gradient_norm, accepted;

  void add(sampling::Position at, const sampling::StepInfo& info) {
    if (at.step < static_cast<std::int64_t>(energy.size())) return;  // of another batch
    energy.push_back(info.energy);
    gradient_norm.push_back(info.gradient_norm);
    if (info.proposes) accepted.push_back(info.accepted_share);
  }
  void write(const fs::path& path) const {
    nlohmann::ordered_json json = {{"energy", energy}, {"gradient_norm", gradient_norm}};
    if (!accepted.empty()) json["accepted"] = accepted;
    io::write_atomically(path, json.dump() + "\n");
  }
};

/// `from` itself, or the newest of the run.
Found find_checkpoint(const fs::path& from, const fs::path& run) {
  const bool is_checkpoint = from != run;
  const auto folders = model::list_checkpoints(run);
  if (folders.empty())
    throw UserError(fmt::format("{}: no checkpoint to resume from; start anew with: igebm train {}", run.string(),
                                io::in_shell(run / "recipe.toml")));
  const fs::path folder = is_checkpoint ? from : folders.back();
  try {
    return {folder, load_checkpoint(folder)};
  } catch (const UserError& e) {
    if (is_checkpoint || folders.size() < 2) throw;
    throw UserError(fmt::format("{}; the checkpoint before it can be resumed with: --resume {}", e.what(),
                                io::in_shell(folders[folders.size() - 2])));
  }
}

/// What checkpoints of earlier versions do not say: the phase that their state is of. The best one was kept before a
/// phase's end, the last one at the end of the recipe that the run had; the others after entering the next phase.
void fill_in_phase(Found& found, const fs::path& run) {
  Checkpoint& c = found.checkpoint;
  if (!c.phase.empty()) return;
  const Recipe before = read_recipe((run / "recipe.toml").string(), {});
  const bool at_an_end = fs::canonical(found.folder).filename() == "best" || c.step == before.total_steps();
  std::int64_t begin = 0;
  for (const PhaseOptions& phase : before.phases) {
    c.phase = phase.name;
    c.phase_steps = c.step - begin;
    begin += phase.steps;
    if (c.step < begin || (at_an_end && c.step == begin)) return;
  }
}

/// Figures of another metric, features or count do not compare.
void forget_other_figures(Checkpoint& c, const EvaluateOptions& by, Observer& observer) {
  const auto& b = c.best;
  if (!b || b->count == 0 ||
      (b->metric == by.metric && model::absolute_path(b->features) == model::absolute_path(by.features) &&
       b->count == by.count))
    return;
  observer.message(
      fmt::format("the best checkpoint, of step {}, was measured by another evaluate.metric, features or count; "
                  "the next one measured replaces it",
                  b->step));
  c.best.reset();
}

/// What makes a run go on otherwise than it would have.
void tell_changes(const Checkpoint& c, const data::Fingerprint& data, Observer& observer) {
  if (c.threads != at::get_num_threads()) {
    observer.message(
        fmt::format("the run had {} threads until now and goes on with {}: equal up to rounding, not bit for bit",
                    c.threads, at::get_num_threads()));
  }
  if (!c.data) return;
  const std::string difference = data::difference(*c.data, data);
  if (!difference.empty())
    observer.message(fmt::format("warning: the data are not those that the run had until now: {}", difference));
}

/// How much of metrics.jsonl is kept.
std::int64_t intact_until(const fs::path& run, const Checkpoint& c, Observer& observer) {
  const std::int64_t intact = intact_metrics(run, c.metrics_bytes);
  if (intact < c.metrics_bytes)
    observer.message(fmt::format(
        "warning: {}: only {} of the {} bytes that the checkpoint of step {} knows are there and whole; the "
        "figures after them are lost",
        (run / "metrics.jsonl").string(), intact, c.metrics_bytes, c.step));
  return intact;
}

}  // namespace

Trainer Trainer::begin(const Recipe& recipe, const fs::path& path, Observer& observer,
                       const MakeSampleMetric& make_metric) {
  RunFolder::require_empty(path);
  io::check_folder(path);
  auto run = std::make_unique<Run>(recipe, path, observer, make_metric);
  if (!recipe.from.empty()) start_from(*run->learner, recipe.from);
  run->learner->choose_algorithms();
  run->learner->enter_phase();
  // Nothing is written before all that can be refused has been tried.
  run->folder.begin([&] {
    run->folder.write_recipe(recipe);
    run->folder.keep_choices(*run->learner);
    run->start_record(0);
    run->folder.save(*run->learner, true);
  });
  return Trainer(std::move(run));
}

Trainer Trainer::resume(const fs::path& from, const std::vector<std::string>& assignments, Observer& observer,
                        const MakeSampleMetric& make_metric) {
  const fs::path path = model::run_of(from);
  io::Lock lock(path);
  restore_replaced(path);
  Found found = find_checkpoint(from, path);
  fill_in_phase(found, path);
  Checkpoint& checkpoint = found.checkpoint;
  const Recipe recipe = read_recipe((path / "recipe.toml").string(), assignments);
  auto run = std::make_unique<Run>(recipe, path, observer, make_metric);
  Learner& learner = *run->learner;
  RunFolder& folder = run->folder;
  folder.lock.emplace(std::move(lock));
  if (nn::to_json(learner.network.graph()) != nn::to_json(checkpoint.network.graph)) {
    throw UserError(fmt::format("{}: the recipe's network is not the one in {}", (path / "recipe.toml").string(),
                                found.folder.string()));
  }
  tell_changes(checkpoint, learner.data_print, observer);
  // Gone on with as it was, a run comes to a later best again; otherwise it has no place in what follows.
  const fs::path best = path / "checkpoints" / "best";
  const bool best_goes = (from != path || !assignments.empty()) && fs::exists(best / "checkpoint.json") &&
                         load_checkpoint(best).step > checkpoint.step;
  if (best_goes) checkpoint.best.reset();
  forget_other_figures(checkpoint, recipe.evaluate, observer);
  learner.rollbacks = checkpoint.rollbacks;
  folder.go_on_from(checkpoint);
  learner.restore(checkpoint);
  learner.choose_algorithms();
  io::check_writable(path / "recipe.toml");
  // Nothing is changed before all that can be refused has been tried. What goes first leaves, wherever this ends, a run
  // that has come less far.
  folder.drop_later(learner.step);
  if (best_goes) fs::remove_all(best);
  if (!assignments.empty()) folder.write_recipe(recipe);
  folder.keep_choices(learner);
  run->start_record(intact_until(path, checkpoint, observer));
  observer.message(fmt::format("resuming {} at step {}", path.string(), checkpoint.step));
  return Trainer(std::move(run));
}

void Trainer::Run::roll_back(const std::string& reason) {
  Learner& l = *learner;
  const WatchdogOptions& watchdog = l.recipe.watchdog;
  const std::int64_t from = l.step;
  if (l.rollbacks >= watchdog.rollbacks) {
    folder.record->gave_up({from, reason});
    throw UserError(fmt::format(
        "{}: diverged at step {} ({}) after {} rollbacks; try a smaller phase.{}.optimizer.learning_rate or "
        "sampling step_size; the last good checkpoint is kept",
        folder.path.string(), from, reason, l.rollbacks, l.phase().name));
  }
  const std::optional<Checkpoint> to = folder.last_good(from, observers);
  if (!to) {
    folder.record->gave_up({from, reason + ", and no checkpoint is left to go back to"});
    throw UserError(fmt::format("{}: diverged at step {} ({}), and no checkpoint is left to go back to",
                                folder.path.string(), from, reason));
  }
  const auto best_so_far = folder.best;
  folder.go_on_from(*to);
  folder.best = best_so_far;  // its checkpoint was good all the same
  l.restore(*to);
  ++l.rollbacks;
  folder.rolled_back_to = l.step;
  l.start_anew();
  folder.drop_later(l.step);
  folder.record->rolled_back({from, l.step, l.rollbacks, reason});
  observers.message(fmt::format(
      "step {}: {}; back to step {} with new chains and the learning rate times {:.3g} ({} of {} rollbacks)", from,
      reason, l.step, std::pow(watchdog.learning_rate_factor, static_cast<double>(l.rollbacks)), l.rollbacks,
      watchdog.rollbacks));
}

void Trainer::Run::picture(const fs::path& path, std::int64_t count, bool traced) {
  if (!io::has_picture(learner->data.shape())) return;
  const at::NoGradGuard no_grad;
  io::make_folder(path.parent_path());
  const bool plane = learner->data.shape().size() == 1;
  if (plane) count = std::max(count, learner->recipe.output.samples);  // a point says less than a picture
  const model::Model model = learner->averaged();
  model::SampleRequest request = learner->request(count, picture_streams);
  StepMeans means;
  if (traced)
    request.on_step = [&](sampling::Position at, const sampling::StepInfo& info, const sampling::Chains&) {
      means.add(at, info);
    };
  const at::Tensor x = model.sample(request).x;
  observers.samples(learner->step, model.space().to_unit(x));
  if (traced) means.write(fs::path(path).replace_extension(".json"));
  const at::Tensor data = plane ? learner->data.first(std::min(count, learner->data.size())).x : at::Tensor();
  io::write_png(path, model::picture_of(model, x, learner->data.extent(), data),
                texts ? texts(learner->step) : io::Texts());
  observers.picture(learner->step, path.string());
}

void Trainer::Run::evaluate() {
  const at::NoGradGuard no_grad;
  const EvaluateOptions& by = learner->recipe.evaluate;
  const model::Model drawn_from = learner->averaged();
  const model::Samples samples = drawn_from.sample(learner->request(by.count, quality_streams));
  if (!samples.x.isfinite().all().item<bool>()) return;
  const double value = metric(evaluation::records_of(drawn_from, samples));
  const std::string name = "quality/" + by.metric;
  if (!std::isfinite(value)) {
    observers.message(fmt::format("step {}: {} is {}, which ranks nothing", learner->step, name, value));
    return;
  }
  observers.metrics(learner->step, "", {{name, value}});
  const bool higher = *evaluation::find_metric(by.metric).higher_is_better;
  const bool better = !folder.best || (higher ? value > folder.best->value : value < folder.best->value);
  if (better) folder.save_best(*learner, {learner->step, value, by.metric, by.features, by.count});
  observers.message(fmt::format("step {}: {} {:.4g} of {} samples{}", learner->step, name, value, by.count,
                                better ? ", the best so far" : ""));
}

void Trainer::Run::tell_accuracy() {
  const auto share = learner->accuracy();
  if (!share) return;
  observers.metrics(learner->step, "", {{"accuracy/validation", *share}});
  observers.message(fmt::format("step {}: {:.2f} % of {} pictures held out are right", learner->step, 100 * *share,
                                learner->validation->size()));
}

Trainer::Run::Step Trainer::Run::step() {
  std::string trouble;
  try {
    if (!learner->try_step(trouble)) return Step::given_up;
  } catch (const UnreadableData&) {  // nothing is lost until they can be read
    if (learner->step != folder.saved_step) folder.save(*learner, false);
    throw;
  }
  if (trouble.empty()) return Step::taken;
  roll_back(trouble);
  return Step::undone;
}

void Trainer::Run::after_step() {
  Learner& l = *learner;
  const Recipe& recipe = l.recipe;
  // To the phase's end: other phases' steps take other times.
  const auto [index, within] = place_of(recipe, l.step - 1);
  const PhaseOptions& phase = recipe.phases[index];
  observers.progress(phase.name, l.step, l.step - 1 - within + phase.steps);
  const Due due = due_after(recipe, l.step);
  if (due.picture) picture(folder.path / "samples" / fmt::format("{:06}.png", l.step), recipe.output.samples);
  if (due.evaluation) evaluate();
  if (due.phase) l.enter_phase();
  if (due.accuracy) tell_accuracy();
  if (due.checkpoint) folder.save(l, true);
}

bool Trainer::train(const std::function<bool()>& stop, const std::function<bool()>& stop_within) {
  Run& run = *run_;
  Learner& learner = *run.learner;
  learner.stop_within = stop_within;
  const std::int64_t total = learner.recipe.total_steps(), first = learner.step;
  bool given_up = false;
  while (learner.step < total) {
    if (given_up || (stop && stop())) {
      if (learner.step != run.folder.saved_step) run.folder.save(learner, false);
      return false;
    }
    const Run::Step step = run.step();
    given_up = step == Run::Step::given_up;
    if (step == Run::Step::taken) run.after_step();
  }
  // One that is there already may be of an earlier end: a finished run can be given more steps.
  const fs::path picture = run.folder.path / "samples.png";
  if (!learner.classifies() && (learner.step > first || !fs::exists(picture)))
    run.picture(picture, 100, /*traced=*/true);
  return true;
}

}  // namespace igebm::training
