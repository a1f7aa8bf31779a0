#include "igebm/training/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/draw.h"
#include "igebm/training/record.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t picture_streams = std::int64_t{1} << 40;  // far from the training's chains
constexpr std::int64_t quality_streams = std::int64_t{3} << 40;

/// Where step `step` falls: the phase's index, and the step within it.
std::pair<std::size_t, std::int64_t> place(const Recipe& recipe, std::int64_t step) {
  std::size_t phase = 0;
  while (phase + 1 < recipe.phases.size() && step >= recipe.phases[phase].steps) step -= recipe.phases[phase++].steps;
  return {phase, step};
}

/// Pictures held out are not mirrored.
data::Options as_they_are(data::Options options) {
  options.flip = false;
  return options;
}

nn::Network on_device(nn::Network network, c10::Device device) {
  for (auto& [_, p] : network.parameters()) p = p.detach().to(device).set_requires_grad(true);
  for (auto& [_, b] : network.buffers()) b = b.to(device);
  return network;
}

}  // namespace

struct Trainer::State {
  Recipe recipe;
  fs::path run;  // empty: nothing is written
  Observer& observer;
  data::Batches data, validation;
  Conditions conditions;  // what the network is conditional on of the data's numbers
  at::Tensor columns;     // of a batch's conditions
  c10::Device device;
  nn::Network network;
  Adam adam;
  Average average;
  std::shared_ptr<engine::Prepared> frozen;
  Objectives objectives;
  std::int64_t step = 0, rollbacks = 0;
  std::int64_t saved_step = -1;      // of the newest checkpoint
  std::int64_t rolled_back_to = -1;  // by the last rollback
  std::optional<Record> record;      // once the run has a folder
  Judge judge;
  std::optional<Best> best;

  State(const Recipe& r, fs::path folder, Observer& o, const data::Dataset& train, const data::Dataset& held_out)
      : recipe(r),
        run(std::move(folder)),
        observer(o),
        data(train, r.data, seed()),
        validation(held_out, as_they_are(r.data), seed()),
        conditions(conditions_of(train, r.network.conditions, seed())),
        columns(at::tensor(train.condition_columns(r.network.conditions), at::kLong)),
        device(find_device(r.device)),
        network(on_device(nn::Network(build_graph(r.network, data.shape(), train.classes, columns.size(0)), seed()),
                          device)),
        adam(network.parameters()),
        average(network.parameters()) {
    at::NoGradGuard no_grad;
    frozen = engine::prepare(network.graph(), network.effective_weights(), engine_options(r, run));
  }

  std::uint64_t seed() const { return static_cast<std::uint64_t>(recipe.seed); }
  /// After a rollback the chains and the noise are new; the weights at the start are not.
  std::uint64_t attempt_seed() const { return seed() + (static_cast<std::uint64_t>(rollbacks) << 32); }
  const PhaseOptions& phase() const { return recipe.phases[place(recipe, step).first]; }
  bool classifies() const { return network.graph().outputs > 0; }

  void enter_phase() {
    const PhaseOptions& p = phase();
    if (step > 0 && p.from_average) {
      const at::NoGradGuard no_grad;
      for (auto& [name, t] : network.parameters()) t.copy_(average.weights().at(name));
    }
    adam = Adam(network.parameters());
    average = Average(network.parameters());
    objectives = make_objectives(phase(), network.graph());
    std::string text;
    for (const auto& [name, _] : objectives) text += (text.empty() ? "" : " and ") + name;
    std::replace(text.begin(), text.end(), '_', ' ');
    observer.message(fmt::format("phase {}: {} steps of {}", p.name, p.steps, text));
  }

  /// The engine's algorithms are measured before the first step and kept with the run: a resume repeats them.
  void choose_algorithms() {
    if (classifies()) return;
    const std::int64_t count = phase().batch;
    const at::Tensor labels = network.graph().some_labels(count);
    const auto chains =
        sampling::start_chains(recipe.sampling.start, data.shape(), count, 0, labels, seed()).to(device);
    frozen->given(chains.labels)->energy_and_gradient(chains.x);
    if (frozen->derives_parameters()) {
      nn::Tensors unused;
      const at::Tensor both = labels.defined() ? at::cat({chains.labels, chains.labels}) : labels;
      frozen->parameter_gradient(at::cat({chains.x, chains.x}), both, at::ones({2 * count}, device), {}, unused);
    }
    if (!frozen->choices().empty() && !run.empty()) {
      io::write_atomically(run / "engine.json", frozen->choices() + "\n");
    }
    observer.message("engine: " + frozen->description());
  }

  /// Other weights by the algorithms of the training's.
  std::shared_ptr<engine::Prepared> prepare(const nn::Tensors& weights) const {
    engine::Options options = engine_options(recipe, run);
    options.choices = frozen->choices();
    return engine::prepare(network.graph(), weights, options);
  }

  /// The labels of a batch: classes, or the conditions that the network takes.
  at::Tensor labels_of(const data::Batch& batch) const {
    const nn::Conditioning on = nn::conditioning(network.graph());
    if (on.classes > 0 || classifies()) return batch.labels.to(device);
    return on.conditions > 0 ? batch.conditions.index_select(1, columns).to(device) : at::Tensor();
  }

  /// The average of weights, to draw samples from.
  Ensemble averaged() const {
    return {network.graph(),
            {prepare(network.effective_weights(average.weights()))},
            conditions,
            phase().denoising_score_matching.noise};
  }

  Checkpoint checkpoint(bool regular) {
    Checkpoint c;
    c.step = step;
    c.regular = regular;
    c.rollbacks = rollbacks;
    if (record) c.metrics_bytes = record->bytes();
    c.threads = at::get_num_threads();
    c.engine = frozen->description();
    c.best = best;
    c.network = {network.graph(),
                 network.parameters(),
                 network.buffers(),
                 {{"step", std::to_string(step)},
                  {"low", fmt::format("{}", recipe.data.low)},
                  {"high", fmt::format("{}", recipe.data.high)}}};
    if (!conditions.names.empty()) c.network.metadata["conditions"] = to_json(conditions);
    if (network.graph().noise_features > 0)
      c.network.metadata["noise"] = to_json(phase().denoising_score_matching.noise);
    c.average = average.weights();
    c.state["optimizer"] = adam.state();
    c.state["average"] = {{"step", at::scalar_tensor(average.step(), at::kLong)}};
    for (const auto& [name, objective] : objectives) c.state[name] = objective->state();
    return c;
  }

  void save(bool regular) {
    save_checkpoint(run, checkpoint(regular), recipe.output.keep);
    saved_step = step;
  }

  void restore(const Checkpoint& c) {
    const at::NoGradGuard no_grad;
    step = saved_step = c.step;
    best = c.best;
    const auto copy = [](const nn::Tensors& from, nn::Tensors& to) {
      for (auto& [name, t] : to) t.copy_(from.at(name));
    };
    copy(c.network.parameters, network.parameters());
    copy(c.network.buffers, network.buffers());
    copy(c.average, average.weights());
    average.set_step(c.state.at("average").at("step").item<std::int64_t>());
    adam.load(c.state.at("optimizer"));
    objectives = make_objectives(phase(), network.graph());
    for (auto& [name, objective] : objectives) {
      const auto found = c.state.find(name);
      if (found != c.state.end() && place(recipe, step).second > 0) objective->load(found->second);
    }
  }

  /// Back to the last regular checkpoint, with new chains, new noise and a smaller learning rate.
  void roll_back(const std::string& reason) {
    const std::int64_t from = step;
    if (rollbacks >= recipe.watchdog.rollbacks) {
      throw UserError(fmt::format(
          "{}: diverged at step {} ({}) after {} rollbacks; try a smaller phase.{}.optimizer.learning_rate or "
          "sampling step_size; the last good checkpoint is kept",
          run.string(), from, reason, rollbacks, phase().name));
    }
    auto folders = list_checkpoints(run);
    std::error_code ignored;
    while (!folders.empty()) {
      const Checkpoint c = load_checkpoint(folders.back());
      // Diverged twice from the same checkpoint: its weights were broken already, unless there is none before it.
      const bool broken = c.step == rolled_back_to && folders.size() > 1;
      if (c.regular && c.step <= from && !broken) {
        const auto best_so_far = best;
        restore(c);
        best = best_so_far;  // its checkpoint was good all the same
        ++rollbacks;
        rolled_back_to = c.step;
        // Fresh buffers: the old chains may sit where the energy broke.
        objectives = make_objectives(phase(), network.graph());
        break;
      }
      fs::remove_all(folders.back(), ignored);
      folders.pop_back();
    }
    if (folders.empty())
      throw UserError(fmt::format("{}: diverged at step {} ({}), and no checkpoint is left to go back to", run.string(),
                                  from, reason));
    record->rolled_back({from, step, rollbacks, reason});
    observer.message(fmt::format(
        "step {}: {}; back to step {} with new chains and the learning rate times {:.3g} ({} of {} rollbacks)", from,
        reason, step, std::pow(recipe.watchdog.learning_rate_factor, static_cast<double>(rollbacks)), rollbacks,
        recipe.watchdog.rollbacks));
  }

  /// One parameter step. Returns why it must be undone, or nothing.
  std::string advance() {
    const auto [index, within] = place(recipe, step);
    const PhaseOptions& p = recipe.phases[index];
    const data::Batch batch = data.at(step, p.batch);

    network.advance_spectral_norm();
    const at::AutoGradMode enable(true);
    const nn::Tensors weights = network.effective_weights();
    frozen->refresh(weights);
    const Step now{network.graph(), weights, *frozen, batch.x.to(device), labels_of(batch), attempt_seed(), step};
    at::Tensor total;  // of what autograd derives
    double value = 0;
    nn::Tensors by_engine;
    Metrics figures;
    for (const auto& [_, objective] : objectives) {
      Loss loss = objective->loss(now);
      if (loss.non_finite > 0) return fmt::format("{} chains are not finite", loss.non_finite);
      for (const auto& [name, figure] : loss.metrics) {
        if (name.starts_with("energy/") && std::fabs(figure) > recipe.watchdog.energy_limit)
          return fmt::format("{} is {:.3g}, beyond watchdog.energy_limit", name, figure);
      }
      value += loss.value.item<double>();
      if (loss.gradients.empty()) total = total.defined() ? total + loss.value : loss.value;
      for (const auto& [name, g] : loss.gradients) nn::add_to(by_engine, name, g);
      figures.insert(figures.end(), loss.metrics.begin(), loss.metrics.end());
    }
    if (!std::isfinite(value)) return "the loss is not finite";
    std::vector<at::Tensor> leaves;
    for (const auto& [_, t] : network.parameters()) leaves.push_back(t);
    std::vector<at::Tensor> outputs, pulls;
    if (total.defined()) outputs = {total}, pulls = {at::ones_like(total)};
    for (const auto& [name, g] : by_engine) outputs.push_back(weights.at(name)), pulls.push_back(g);
    auto gradients = torch::autograd::grad(outputs, leaves, pulls, false, false, /*allow_unused=*/true);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!gradients[i].defined()) gradients[i] = at::zeros_like(leaves[i]);
    }
    const double rate = learning_rate(p.optimizer, within, p.steps) *
                        std::pow(recipe.watchdog.learning_rate_factor, static_cast<double>(rollbacks));
    const double norm = adam.update(p.optimizer, rate, network.parameters(), gradients);
    if (!std::isfinite(norm)) return "the parameters' gradient is not finite";
    average.update(network.parameters(), p.average);
    ++step;
    figures.insert(figures.begin(), {"loss", value});
    figures.emplace_back("gradient_norm", norm);
    figures.emplace_back("learning_rate", rate);
    if (step % recipe.output.metrics_every == 0 || step == recipe.total_steps()) {
      if (record) record->figures(step, figures, p.name);
      observer.metrics(step, figures);
    }
    return {};
  }

  /// A classifier's share of right answers on the pictures held out, with the average of weights.
  void record_accuracy() {
    const data::Batch held_out = validation.first(validation.size());
    if (held_out.x.size(0) == 0) return;
    const double share = accuracy(network.graph(), network.effective_weights(average.weights()), held_out.x.to(device),
                                  held_out.labels.to(device));
    if (record) record->figures(step, {{"accuracy/validation", share}});
    observer.message(
        fmt::format("step {}: {:.2f} % of {} pictures held out are right", step, 100 * share, held_out.x.size(0)));
  }

  void picture(const fs::path& path, std::int64_t count) {
    const at::NoGradGuard no_grad;
    fs::create_directories(path.parent_path());
    write_picture(path, recipe, averaged(), count, picture_streams, data.extent());
    record->picture(step, path);
    observer.picture(step, path.string());
  }

  void make_judge(const MakeJudge& make) {
    if (recipe.evaluate.every == 0) return;
    if (!make) throw UserError("evaluate.every: this program cannot evaluate during training; set it to 0");
    judge = make(recipe);
  }

  /// A figure of samples drawn with the average of weights; the checkpoint is kept if it is the best so far.
  void evaluate() {
    const at::NoGradGuard no_grad;
    const at::Tensor x = draw(recipe, averaged(), recipe.evaluate.count, quality_streams, {}, seed(), nullptr).x;
    if (!x.isfinite().all().item<bool>()) return;
    const double value = judge(x.dim() == 4 ? to_unit(x, recipe.data) : x);
    const std::string name = "quality/" + recipe.evaluate.metric;
    record->figures(step, {{name, value}});
    const bool better = !best || (recipe.evaluate.metric == "inception" ? value > best->value : value < best->value);
    if (better) {
      best = {step, value};
      save_best(run, checkpoint(true));
    }
    observer.message(fmt::format("step {}: {} {:.4g} of {} samples{}", step, name, value, recipe.evaluate.count,
                                 better ? ", the best so far" : ""));
  }
};

Trainer::Trainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;
std::int64_t Trainer::step() const { return state_->step; }
const fs::path& Trainer::run() const { return state_->run; }

namespace {

void use_threads(const Recipe& recipe) {
  if (recipe.threads > 0) at::set_num_threads(static_cast<int>(recipe.threads));
}

std::pair<data::Dataset, data::Dataset> load_data(const Recipe& recipe) {
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  return {data::load(recipe.data, data::Split::train, seed), data::load(recipe.data, data::Split::validation, seed)};
}

}  // namespace

Trainer Trainer::begin(const Recipe& recipe, const fs::path& run, Observer& observer, const MakeJudge& make_judge) {
  if (fs::exists(run) && !fs::is_empty(run)) {
    throw UserError(fmt::format("{}: holds something already; resume it with --resume {}, or choose another --out",
                                run.string(), run.string()));
  }
  use_threads(recipe);
  const auto [train, validation] = load_data(recipe);
  auto state = std::make_unique<State>(recipe, run, observer, train, validation);
  state->make_judge(make_judge);
  std::error_code error;
  fs::create_directories(run, error);
  if (error) throw UserError(fmt::format("{}: cannot be made: {}", run.string(), error.message()));
  Recipe resolved = recipe;
  io::write_atomically(run / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, resolved); }));
  state->record.emplace(run, 0, state->step);
  state->choose_algorithms();
  state->enter_phase();
  state->save(true);
  return Trainer(std::move(state));
}

Trainer Trainer::resume(const fs::path& from, const std::vector<std::string>& assignments, Observer& observer,
                        const MakeJudge& make_judge) {
  const bool is_checkpoint = fs::exists(from / "checkpoint.json");
  const fs::path run = run_of(from);
  const auto folders = list_checkpoints(run);
  if (folders.empty())
    throw UserError(fmt::format("{}: no checkpoint to resume from; start anew with: igebm train {}", run.string(),
                                (run / "recipe.toml").string()));
  const fs::path folder = is_checkpoint ? from : folders.back();
  Checkpoint checkpoint;
  try {
    checkpoint = load_checkpoint(folder);
  } catch (const UserError& e) {
    if (is_checkpoint || folders.size() < 2) throw;
    throw UserError(fmt::format("{}; the checkpoint before it can be resumed with: --resume {}", e.what(),
                                folders[folders.size() - 2].string()));
  }
  Recipe recipe = read_recipe((run / "recipe.toml").string(), assignments);
  use_threads(recipe);
  if (checkpoint.threads != at::get_num_threads()) {
    observer.message(
        fmt::format("the run had {} threads until now and goes on with {}: equal up to rounding, not bit for bit",
                    checkpoint.threads, at::get_num_threads()));
  }
  const auto [train, validation] = load_data(recipe);
  auto state = std::make_unique<State>(recipe, run, observer, train, validation);
  if (nn::to_json(state->network.graph()) != nn::to_json(checkpoint.network.graph)) {
    throw UserError(
        fmt::format("{}: the recipe's network is not the one in {}", (run / "recipe.toml").string(), folder.string()));
  }
  if (!assignments.empty())
    io::write_atomically(run / "recipe.toml", io::write_recipe([&](io::Fields& f) { describe(f, recipe); }));
  for (const auto& later : folders) {
    if (std::stoll(later.filename()) > checkpoint.step) fs::remove_all(later);
  }
  state->make_judge(make_judge);
  // Gone on with as it was, a run comes to a later best again; otherwise it has no place in what follows.
  const fs::path best = run / "checkpoints" / "best";
  if ((is_checkpoint || !assignments.empty()) && fs::exists(best / "checkpoint.json") &&
      load_checkpoint(best).step > checkpoint.step) {
    fs::remove_all(best);
    checkpoint.best.reset();
  }
  state->rollbacks = checkpoint.rollbacks;
  state->restore(checkpoint);
  // The best one is kept before a phase's end, the others after it.
  if (fs::canonical(folder).filename() == "best" && state->step < recipe.total_steps() &&
      place(recipe, state->step).second == 0)
    state->enter_phase();
  state->record.emplace(run, checkpoint.metrics_bytes, state->step);
  state->choose_algorithms();
  observer.message(fmt::format("resuming {} at step {}", run.string(), checkpoint.step));
  return Trainer(std::move(state));
}

bool Trainer::train(const std::function<bool()>& stop) {
  State& s = *state_;
  const std::int64_t total = s.recipe.total_steps();
  while (s.step < total) {
    if (stop && stop()) {
      if (s.step != s.saved_step) s.save(false);
      return false;
    }
    const std::string trouble = s.advance();
    if (!trouble.empty()) {
      s.roll_back(trouble);
      continue;
    }
    // To the phase's end: other phases' steps take other times.
    const auto [index, within] = place(s.recipe, s.step - 1);
    const PhaseOptions& phase = s.recipe.phases[index];
    s.observer.progress(phase.name, s.step, s.step - 1 - within + phase.steps);
    if (s.recipe.output.samples_every > 0 && s.step % s.recipe.output.samples_every == 0 && !s.classifies()) {
      s.picture(s.run / "samples" / fmt::format("{:06}.png", s.step), s.recipe.output.samples);
    }
    if (s.recipe.evaluate.every > 0 && (s.step % s.recipe.evaluate.every == 0 || s.step == total)) s.evaluate();
    const bool phase_ends = s.step < total && place(s.recipe, s.step).second == 0;
    if (phase_ends) s.enter_phase();
    if (s.step % s.recipe.output.checkpoint_every == 0 || phase_ends || s.step == total) {
      if (s.classifies()) s.record_accuracy();
      s.save(true);
    }
  }
  if (!fs::exists(s.run / "samples.png") && !s.classifies()) s.picture(s.run / "samples.png", 100);
  return true;
}

Rehearsal::Rehearsal(const Recipe& recipe, const MakeJudge& make_judge) {
  use_threads(recipe);
  const auto [train, validation] = load_data(recipe);
  state_ = std::make_unique<Trainer::State>(recipe, fs::path(), silent_, train, validation);
  state_->make_judge(make_judge);
  state_->choose_algorithms();
  for (const auto& [name, t] : state_->network.parameters()) start_[name] = t.detach().clone();
}
Rehearsal::~Rehearsal() = default;

void Rehearsal::enter(const PhaseOptions& phase) {
  Trainer::State& s = *state_;
  {
    const at::NoGradGuard no_grad;
    for (auto& [name, t] : s.network.parameters()) t.copy_(start_.at(name));
  }
  s.recipe.phases = {phase};
  s.step = 0;
  s.enter_phase();
  for (const auto& [_, objective] : s.objectives) {
    nn::Tensors chains = objective->state();
    const auto stream = chains.find("stream");  // of a replay buffer; negative: not begun
    if (stream == chains.end()) continue;
    stream->second = at::zeros_like(stream->second);
    objective->load(chains);
  }
}

std::string Rehearsal::step() { return state_->advance(); }
void Rehearsal::classify_validation() { state_->record_accuracy(); }

Ensemble Rehearsal::averaged() const {
  const at::NoGradGuard no_grad;
  return state_->averaged();
}

const nn::Network& Rehearsal::network() const { return state_->network; }
const data::Batches& Rehearsal::data() const { return state_->data; }
const Judge& Rehearsal::judge() const { return state_->judge; }
std::string Rehearsal::engine() const { return state_->frozen->description(); }

namespace {

std::int64_t bytes(const nn::Tensors& tensors) {
  std::size_t sum = 0;
  for (const auto& [_, t] : tensors) sum += t.nbytes();
  return static_cast<std::int64_t>(sum);
}

}  // namespace

std::int64_t Rehearsal::buffer_bytes() const {
  std::int64_t sum = 0;
  for (const auto& [_, objective] : state_->objectives) sum += bytes(objective->state());
  return sum;
}

std::int64_t Rehearsal::checkpoint_bytes() const {
  const Checkpoint c = state_->checkpoint(true);
  std::int64_t sum = bytes(c.network.parameters) + bytes(c.average) + 2 * bytes(c.network.buffers);
  for (const auto& [_, tensors] : c.state) sum += bytes(tensors);
  return sum;
}

}  // namespace igebm::training
