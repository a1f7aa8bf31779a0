#include "igebm/training/state.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/replay_buffer.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t picture_streams = std::int64_t{1} << 40;  // far from the training's chains
constexpr std::int64_t quality_streams = std::int64_t{3} << 40;

/// Pictures held out are not mirrored.
data::Options as_they_are(data::Options options) {
  options.flip = false;
  return options;
}

/// What no step could hold is said before a run begins.
void check_memory(const Recipe& recipe, const std::vector<std::int64_t>& shape) {
  const auto limit = static_cast<double>(memory_limit());
  for (const PhaseOptions& phase : recipe.phases) {
    if (!phase.has_contrastive_divergence) continue;
    const ReplayOptions& replay = phase.contrastive_divergence.replay;
    const double bytes = static_cast<double>(replay.size) * ReplayBuffer::bytes_per_chain(replay, shape);
    if (bytes > limit)
      throw UserError(fmt::format(
          "phase.{}.contrastive_divergence.buffer: {} chains take {:.3g} GB, more than the {:.3g} GB of memory here",
          phase.name, replay.size, bytes * 1e-9, limit * 1e-9));
  }
}

/// Root mean square of the data's elements, to four digits.
double root_mean_square(const data::Batches& data) {
  constexpr double enough = 4e6;
  double elements = 1;
  for (const std::int64_t size : data.shape()) elements *= static_cast<double>(size);
  const auto records = static_cast<std::int64_t>(std::clamp(enough / elements, 64.0, 20000.0));
  const at::Tensor x = data.from(0, std::min(records, data.size())).x;
  const double value = std::sqrt(x.square().mean(at::kDouble).item<double>());
  return std::stod(fmt::format("{:.4g}", value));
}

bool is_open(const PhaseOptions& phase) {
  return phase.has_denoising_score_matching && phase.denoising_score_matching.noise.sigma_data == 0;
}

nn::Network on_device(nn::Network network, c10::Device device) {
  for (auto& [_, p] : network.parameters()) p = p.detach().to(device).set_requires_grad(true);
  for (auto& [_, b] : network.buffers()) b = b.to(device);
  return network;
}

}  // namespace

State::State(const Recipe& r, fs::path folder, Observer& o, const data::Dataset& train)
    : recipe(r),
      run(std::move(folder)),
      observer(o),
      data(train, r.data, seed()),
      conditions(conditions_of(train, r.network.conditions, seed())),
      columns(at::tensor(train.condition_columns(r.network.conditions), at::kLong)),
      device(find_device(r.device)),
      network(
          on_device(nn::Network(build_graph(r.network, data.shape(), train.classes, columns.size(0)), seed()), device)),
      optimizer(make_optimizer(r.phases.front().optimizer, network.parameters())),
      average(network.parameters()),
      data_print(data::fingerprint(train)) {
  at::NoGradGuard no_grad;
  measure_data();
  frozen = engine::prepare(network.graph(), network.effective_weights(), model::engine_options(r, run));
}

std::pair<std::size_t, std::int64_t> State::place(std::int64_t at_step) const {
  std::size_t index = 0;
  while (index + 1 < recipe.phases.size() && at_step >= recipe.phases[index].steps)
    at_step -= recipe.phases[index++].steps;
  return {index, at_step};
}

void State::measure_data() {
  for (PhaseOptions& p : recipe.phases) {
    if (!is_open(p)) continue;
    model::NoiseScale& noise = p.denoising_score_matching.noise;
    noise.sigma_data = noise.form == model::EnergyForm::noise ? model::NoiseScale().sigma_data : root_mean_square(data);
    if (!(noise.sigma_data > 0 && std::isfinite(noise.sigma_data)))
      throw UserError(fmt::format("phase.{}.denoising_score_matching.sigma_data: the data's root mean square is {}",
                                  p.name, noise.sigma_data));
    measured.insert(p.name);
  }
}

void State::keep_scale(const Checkpoint& c) {
  const auto noise = c.network.metadata.find("noise");
  if (noise == c.network.metadata.end()) return;
  for (PhaseOptions& p : recipe.phases) {
    if (measured.contains(p.name))
      p.denoising_score_matching.noise.sigma_data = model::noise_scale_from_json(noise->second).sigma_data;
  }
}

void State::try_phases() const {
  for (const PhaseOptions& p : recipe.phases) make_objectives(p, network.graph());
}

void Used::add(const PhaseOptions& phase, std::int64_t steps) {
  records += steps * phase.batch;
  if (phase.has_contrastive_divergence) chains += steps * phase.batch;
}

Used State::used_before(std::int64_t at_step) const {
  const auto [index, within] = place(at_step);
  Used sum;
  for (std::size_t i = 0; i < index; ++i) sum.add(recipe.phases[i], recipe.phases[i].steps);
  sum.add(recipe.phases[index], within);
  return sum;
}

void State::enter_phase() {
  const PhaseOptions& p = phase();
  if (step > 0 && p.from_average) {
    const at::NoGradGuard no_grad;
    for (auto& [name, t] : network.parameters()) t.copy_(average.weights().at(name));
  }
  optimizer = make_optimizer(p.optimizer, network.parameters());
  average = Average(network.parameters());
  objectives = make_objectives(phase(), network.graph());
  entered = p.name;
  phase_steps = 0;
  std::string text;
  for (const auto& [name, _] : objectives) text += (text.empty() ? "" : " and ") + name;
  std::replace(text.begin(), text.end(), '_', ' ');
  observer.message(fmt::format("phase {}: {} steps of {}", p.name, p.steps, text));
}

void State::choose_algorithms() {
  if (classifies()) return;
  const std::int64_t count = phase().batch;
  const at::Tensor labels = network.graph().some_labels(count);
  const auto chains = sampling::start_chains(recipe.sampling.start, data.shape(), count, 0, labels, seed()).to(device);
  frozen->given(chains.labels)->energy_and_gradient(chains.x);
  if (frozen->derives_parameters()) {
    nn::Tensors unused;
    const at::Tensor both = labels.defined() ? at::cat({chains.labels, chains.labels}) : labels;
    frozen->parameter_gradient(at::cat({chains.x, chains.x}), both, at::ones({2 * count}, device), {}, unused);
  }
  observer.message("engine: " + frozen->description());
}

void State::keep_algorithms() const {
  if (!frozen->choices().empty()) io::write_atomically(run / "engine.json", frozen->choices() + "\n");
}

std::shared_ptr<engine::Prepared> State::prepare(const nn::Tensors& weights) const {
  engine::Options options = model::engine_options(recipe, run);
  options.choices = frozen->choices();
  return engine::prepare(network.graph(), weights, options);
}

at::Tensor State::labels_of(const data::Batch& batch) const {
  const nn::Conditioning on = nn::conditioning(network.graph());
  if (on.classes > 0 || classifies()) return batch.labels.to(device);
  return on.conditions > 0 ? batch.conditions.index_select(1, columns).to(device) : at::Tensor();
}

model::Model State::averaged() const {
  const nn::Conditioning on = nn::conditioning(network.graph());
  model::ConditionSpec spec{.classes = on.classes, .values = on.conditions, .numbers = conditions};
  if (on.noise_features > 0) spec.noise = phase().denoising_score_matching.noise;
  return {network.graph(), {prepare(network.effective_weights(average.weights()))}, spec, recipe};
}

model::SampleRequest State::request(std::int64_t count, std::int64_t streams) const {
  return {.count = count, .first_stream = streams, .batch = 256, .energies = false};
}

Checkpoint State::checkpoint(bool regular) {
  Checkpoint c;
  c.step = step;
  c.regular = regular;
  c.rollbacks = rollbacks;
  c.rolled_back_to = rolled_back_to;
  c.phase = entered;
  c.phase_steps = phase_steps;
  c.data = data_print;
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
  if (network.graph().noise_features > 0) c.network.metadata["noise"] = to_json(phase().denoising_score_matching.noise);
  c.average = average.weights();
  c.state["optimizer"] = optimizer->state();
  c.state["used"] = {{"records", at::scalar_tensor(used.records, at::kLong)},
                     {"chains", at::scalar_tensor(used.chains, at::kLong)}};
  c.state["average"] = {{"step", at::scalar_tensor(average.step(), at::kLong)}};
  for (const auto& [name, objective] : objectives) c.state[name] = objective->state();
  return c;
}

void State::save(bool regular) {
  save_checkpoint(run, checkpoint(regular), recipe.output.keep);
  saved_step = step;
}

void State::restore(const Checkpoint& c) {
  pictured = -1;
  const at::NoGradGuard no_grad;
  step = saved_step = c.step;
  rolled_back_to = c.rolled_back_to;
  const std::int64_t within = place(step).second;
  keep_scale(c);
  entered = c.phase.empty() ? phase().name : c.phase;
  phase_steps = c.phase.empty() ? within : c.phase_steps;
  used = used_before(step);
  if (const auto said = c.state.find("used"); said != c.state.end())
    used = {said->second.at("records").item<std::int64_t>(), said->second.at("chains").item<std::int64_t>()};
  best = c.best;
  const auto copy = [](const nn::Tensors& from, nn::Tensors& to) {
    for (auto& [name, t] : to) t.copy_(from.at(name));
  };
  copy(c.network.parameters, network.parameters());
  copy(c.network.buffers, network.buffers());
  copy(c.average, average.weights());
  average.set_step(c.state.at("average").at("step").item<std::int64_t>());
  const bool enters = entered != phase().name || (within == 0 && phase_steps > 0);
  optimizer = make_optimizer(phase().optimizer, network.parameters());
  if (!enters) optimizer->load(c.state.at("optimizer"));
  objectives = make_objectives(phase(), network.graph());
  for (auto& [name, objective] : objectives) {
    const auto found = c.state.find(name);
    if (found != c.state.end() && phase_steps > 0 && entered == phase().name) objective->load(found->second);
  }
  if (enters) enter_phase();
}

void State::drop_later() const {
  std::error_code ignored;
  const auto folders = model::list_checkpoints(run);
  // The newest first: whatever ends this leaves a run that has come less far.
  for (auto folder = folders.rbegin(); folder != folders.rend() && std::stoll(folder->filename()) > step; ++folder)
    fs::remove_all(*folder, ignored);
}

std::optional<Checkpoint> State::last_good(std::int64_t from) {
  std::optional<Checkpoint> broken;
  const auto folders = model::list_checkpoints(run);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    try {
      Checkpoint c = load_checkpoint(*folder);
      if (!c.regular || c.step > from) continue;
      if (c.step != rolled_back_to) return c;
      broken = std::move(c);
    } catch (const UserError& e) {
      observer.message(fmt::format("{}; passed over", e.what()));
    }
  }
  // Diverged twice from the same checkpoint: its weights were broken already, unless there is none before it.
  return broken;
}

void State::roll_back(const std::string& reason) {
  const std::int64_t from = step;
  if (rollbacks >= recipe.watchdog.rollbacks) {
    record->gave_up({from, reason});
    throw UserError(fmt::format(
        "{}: diverged at step {} ({}) after {} rollbacks; try a smaller phase.{}.optimizer.learning_rate or "
        "sampling step_size; the last good checkpoint is kept",
        run.string(), from, reason, rollbacks, phase().name));
  }
  const std::optional<Checkpoint> to = last_good(from);
  if (!to) {
    record->gave_up({from, reason + ", and no checkpoint is left to go back to"});
    throw UserError(fmt::format("{}: diverged at step {} ({}), and no checkpoint is left to go back to", run.string(),
                                from, reason));
  }
  const auto best_so_far = best;
  restore(*to);
  best = best_so_far;  // its checkpoint was good all the same
  ++rollbacks;
  rolled_back_to = step;
  // Fresh buffers: the old chains may sit where the energy broke.
  objectives = make_objectives(phase(), network.graph());
  used.chains = 0;  // under a seed of their own
  drop_later();
  record->rolled_back({from, step, rollbacks, reason});
  observer.message(fmt::format(
      "step {}: {}; back to step {} with new chains and the learning rate times {:.3g} ({} of {} rollbacks)", from,
      reason, step, std::pow(recipe.watchdog.learning_rate_factor, static_cast<double>(rollbacks)), rollbacks,
      recipe.watchdog.rollbacks));
}

data::Batch State::next_batch() {
  try {
    return data.from(used.records, phase().batch);
  } catch (const UserError&) {  // a file that cannot be read: nothing is lost until it can
    if (!run.empty() && step != saved_step) save(false);
    throw;
  }
}

std::string State::advance() {
  const auto [index, within] = place(step);
  const PhaseOptions& p = recipe.phases[index];
  const data::Batch batch = next_batch();

  network.advance_spectral_norm();
  const at::AutoGradMode enable(true);
  const nn::Tensors weights = network.effective_weights();
  frozen->refresh(weights);
  const Step now{network.graph(), weights, *frozen,      batch.x.to(device), labels_of(batch),
                 attempt_seed(),  step,    used.records, used.chains,        stop_within};
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
    if (loss.relative > recipe.watchdog.loss_limit)
      return fmt::format("the loss is {:.3g} times that of a network that knows nothing, beyond watchdog.loss_limit",
                         loss.relative);
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
  const double norm = optimizer->update(p.optimizer, rate, network.parameters(), gradients);
  if (!std::isfinite(norm)) return "the parameters' gradient is not finite";
  average.update(network.parameters(), p.average);
  ++step;
  ++phase_steps;
  used.add(p, 1);
  figures.insert(figures.begin(), {"loss", value});
  figures.emplace_back("gradient_norm", norm);
  figures.emplace_back("learning_rate", rate);
  if (step % recipe.output.metrics_every == 0 || step == recipe.total_steps()) {
    if (record) record->figures(step, figures, p.name);
    observer.metrics(step, figures);
  }
  return {};
}

bool State::try_step(std::string& trouble) {
  // A step given up has changed no more than spectral norm's vectors and the objectives' counters.
  nn::Tensors buffers;
  std::vector<nn::Tensors> states;
  if (stop_within) {
    for (const auto& [name, b] : network.buffers()) buffers[name] = b.clone();
    for (const auto& [_, objective] : objectives) states.push_back(objective->state());
  }
  try {
    trouble = advance();
    return true;
  } catch (const Interrupted&) {
    const at::NoGradGuard no_grad;
    for (auto& [name, b] : network.buffers()) b.copy_(buffers.at(name));
    for (std::size_t i = 0; i < states.size(); ++i) objectives[i].second->load(states[i]);
    return false;
  }
}

void State::record_accuracy() {
  if (validation->size() == 0) return;
  const data::Batch held_out = validation->first(validation->size());
  const double share = accuracy(network.graph(), network.effective_weights(average.weights()), held_out.x.to(device),
                                held_out.labels.to(device));
  if (record) record->figures(step, {{"accuracy/validation", share}});
  observer.message(
      fmt::format("step {}: {:.2f} % of {} pictures held out are right", step, 100 * share, held_out.x.size(0)));
}

void State::picture(const fs::path& path, std::int64_t count) {
  if (!io::has_picture(data.shape())) return;
  const at::NoGradGuard no_grad;
  io::make_folder(path.parent_path());
  const bool plane = data.shape().size() == 1;
  if (plane) count = std::max(count, recipe.output.samples);  // a point says less than a picture
  model::write_picture(path, averaged(), request(count, picture_streams), data.extent(),
                       plane ? data.first(std::min(count, data.size())).x : at::Tensor());
  if (std::exchange(pictured, step) != step) record->picture(step, path);
  observer.picture(step, path.string());
}

void State::make_judge(const MakeJudge& make) {
  if (recipe.evaluate.every == 0) return;
  if (!make) throw UserError("evaluate.every: this program cannot evaluate during training; set it to 0");
  judge = make(recipe);
}

void State::evaluate() {
  const at::NoGradGuard no_grad;
  const model::Model drawn_from = averaged();
  const at::Tensor x = drawn_from.sample(request(recipe.evaluate.count, quality_streams)).x;
  if (!x.isfinite().all().item<bool>()) return;
  const double value = judge(drawn_from.space().to_unit(x));
  const std::string name = "quality/" + recipe.evaluate.metric;
  record->figures(step, {{name, value}});
  const bool better = !best || (recipe.evaluate.metric == "inception" ? value > best->value : value < best->value);
  if (better) {
    best = {step, value, recipe.evaluate.metric, recipe.evaluate.features, recipe.evaluate.count};
    save_best(run, checkpoint(true));
  }
  observer.message(fmt::format("step {}: {} {:.4g} of {} samples{}", step, name, value, recipe.evaluate.count,
                               better ? ", the best so far" : ""));
}

std::unique_ptr<State> make_state(const Recipe& recipe, const fs::path& run, Observer& observer) {
  if (recipe.threads > 0) at::set_num_threads(static_cast<int>(recipe.threads));
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  const data::Dataset train = data::load(recipe.data, data::Split::train, seed);
  for (const std::string& note : train.notes) observer.message(note);
  check_memory(recipe, train.shape());
  check_augmentation(recipe, train);
  auto state = std::make_unique<State>(recipe, run, observer, train);
  if (state->classifies())
    state->validation.emplace(data::load(recipe.data, data::Split::validation, seed), as_they_are(recipe.data), seed);
  return state;
}

}  // namespace igebm::training
