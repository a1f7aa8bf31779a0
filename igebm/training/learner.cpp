#include "igebm/training/learner.h"

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
#include "igebm/base/random.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/classification.h"
#include "igebm/training/replay_buffer.h"

namespace igebm::training {
namespace {

namespace fs = std::filesystem;

/// Pictures held out are not mirrored.
data::Options as_they_are(data::Options options) {
  options.flip = false;
  return options;
}

/// What no step could hold is said before a run begins.
void check_memory(const Recipe& recipe, const std::vector<std::int64_t>& shape) {
  const auto limit = static_cast<double>(memory_limit());
  for (const PhaseOptions& phase : recipe.phases) {
    for (const auto& term : phase.objectives) {
      const ReplayOptions* replay = term->replay();
      if (replay == nullptr) continue;
      const double bytes = static_cast<double>(replay->size) * ReplayBuffer::bytes_per_chain(*replay, shape);
      if (bytes > limit)
        throw UserError(
            fmt::format("phase.{}.{}.buffer: {} chains take {:.3g} GB, more than the {:.3g} GB of memory here",
                        phase.name, term->section(), replay->size, bytes * 1e-9, limit * 1e-9));
    }
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

/// d(total)/d(parameter) and what the weights' gradients give the parameters that they are made of, in their order.
std::vector<at::Tensor> parameter_gradients(const nn::Tensors& parameters, const nn::EffectiveWeights& weights,
                                            const at::Tensor& total, const nn::Tensors& of_weights) {
  std::vector<at::Tensor> leaves, gradients, outputs, pulls;
  for (const auto& [_, t] : parameters) leaves.push_back(t);
  if (total.defined()) outputs = {total}, pulls = {at::ones_like(total)};
  bool all_are_parameters = !total.defined();
  for (const auto& [name, g] : of_weights) {
    outputs.push_back(weights.at(name)), pulls.push_back(g);
    all_are_parameters = all_are_parameters && weights.at(name).is_same(parameters.at(name));
  }
  if (all_are_parameters) {
    for (const auto& [name, _] : parameters)
      gradients.push_back(of_weights.contains(name) ? of_weights.at(name) : at::Tensor());
  } else {
    gradients = torch::autograd::grad(outputs, leaves, pulls, false, false, /*allow_unused=*/true);
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(leaves[i]);
  }
  return gradients;
}

nn::Network on_device(nn::Network network, c10::Device device) {
  for (auto& [_, p] : network.parameters()) p = p.detach().to(device).set_requires_grad(true);
  for (auto& [_, b] : network.buffers()) b = b.to(device);
  return network;
}

}  // namespace

Learner::Learner(const Recipe& r, const fs::path& run, Observer& o, const data::Dataset& train)
    : recipe(r),
      observer(o),
      data(train, r.data, seed()),
      conditions(conditions_of(train, r.network.conditions, seed())),
      class_names(train.class_names),
      columns(at::tensor(train.condition_columns(r.network.conditions), at::kLong)),
      device(find_device(r.device)),
      network(
          on_device(nn::Network(build_graph(r.network, data.shape(), train.classes, columns.size(0)), seed()), device)),
      optimizer(make_optimizer(r.phases.front().optimizer, network.parameters())),
      average(network.parameters()),
      data_print(data::fingerprint(train)),
      engine(model::engine_options(r, run)) {
  at::NoGradGuard no_grad;
  measure_data();
  frozen = engine::prepare(network.graph(), network.effective_weights(), engine);
}

const PhaseOptions& Learner::trained_phase() const {
  for (const PhaseOptions& p : recipe.phases) {
    if (p.name == entered) return p;
  }
  return phase();
}

void Learner::measure_data() {
  for (PhaseOptions& p : recipe.phases) {
    for (const auto& term : p.objectives) {
      model::NoiseScale* noise = term->noise();
      if (noise == nullptr || noise->sigma_data > 0) continue;
      noise->sigma_data =
          noise->form == model::EnergyForm::noise ? model::NoiseScale().sigma_data : root_mean_square(data);
      if (!(noise->sigma_data > 0 && std::isfinite(noise->sigma_data)))
        throw UserError(fmt::format("phase.{}.{}.sigma_data: the data's root mean square is {}", p.name,
                                    term->section(), noise->sigma_data));
      measured.insert(p.name);
    }
  }
}

void Learner::keep_scale(const model::NoiseScale& kept) {
  for (PhaseOptions& p : recipe.phases) {
    if (!measured.contains(p.name)) continue;
    for (const auto& term : p.objectives) {
      if (term->noise() != nullptr && term->noise()->form == kept.form) term->noise()->sigma_data = kept.sigma_data;
    }
  }
}

void Learner::try_phases() const {
  for (const PhaseOptions& p : recipe.phases) make_objectives(p, network.graph());
}

void Used::add(const PhaseOptions& phase, std::int64_t before, std::int64_t steps) {
  // The phase's last batch counts as seen at its end, though it may have been repeated less often.
  const auto batches = [&](std::int64_t n) {
    return n == phase.steps ? (n + phase.repeats - 1) / phase.repeats : n / phase.repeats;
  };
  data += (batches(before + steps) - batches(before)) * phase.batch;
  records += steps * phase.batch;
  if (phase.objectives.keeps_chains()) chains += steps * phase.batch;
}

Used Learner::used_before(std::int64_t at_step) const {
  const auto [index, within] = place_of(recipe, at_step);
  Used sum;
  for (std::size_t i = 0; i < index; ++i) sum.add(recipe.phases[i], 0, recipe.phases[i].steps);
  sum.add(recipe.phases[index], 0, within);
  return sum;
}

void Learner::enter_phase() {
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
  for (const auto& [name, _] : objectives) text += (text.empty() ? "" : " and ") + words(name);
  observer.message(fmt::format("phase {}: {} steps of {}", p.name, p.steps, text));
}

void Learner::choose_algorithms() {
  if (classifies()) return;
  if (device.is_cuda()) return observer.message("engine: " + frozen->description());  // cuDNN chooses by itself
  const std::int64_t count = phase().batch;
  const at::Tensor labels = network.graph().some_labels(count);
  const auto chains = sampling::start_chains(recipe.sampling.start, data.shape(), count, 0, labels, seed()).to(device);
  frozen->given(chains.labels)->energy_and_gradient(chains.x);
  if (frozen->derives_parameters()) {
    nn::Tensors unused;
    const at::Tensor both = labels.defined() ? at::cat({chains.labels, chains.labels}) : labels;
    frozen->parameter_gradient(at::cat({chains.x, chains.x}), both, at::ones({2 * count}, device), {}, unused);
  }
  const auto takes_slopes = [](const PhaseOptions& p) { return p.objectives.takes_slopes(); };
  if (std::ranges::any_of(recipe.phases, takes_slopes)) {
    nn::Tensors unused;
    frozen->match(chains.x, chains.labels, chains.x, at::ones({count}, device), unused);
  }
  observer.message("engine: " + frozen->description());
}

std::shared_ptr<engine::Prepared> Learner::prepare(const nn::EffectiveWeights& weights) const {
  engine::Options options = engine;
  options.choices = frozen->choices();
  return engine::prepare(network.graph(), weights, options);
}

at::Tensor Learner::labels_of(const data::Batch& batch) const {
  const nn::Conditioning on = nn::conditioning(network.graph());
  if (recipe.network.label_dropout > 0) {
    const at::Tensor labels = on.classes > 0 ? batch.labels.clone() : batch.conditions.index_select(1, columns);
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      const auto stream = static_cast<std::uint64_t>(used.records + i);
      if (random_uniform({attempt_seed(), Purpose::label_dropout, stream, 0}) >= recipe.network.label_dropout) continue;
      const at::Tensor one = labels.narrow(0, i, 1);
      one.copy_(nn::untold(one));
    }
    return labels.to(device);
  }
  if (on.classes > 0 || classifies()) return batch.labels.to(device);
  return on.conditions > 0 ? batch.conditions.index_select(1, columns).to(device) : at::Tensor();
}

model::ConditionSpec Learner::condition_spec() const {
  model::ConditionSpec spec = model::condition_spec(network.graph(), {});
  if (spec.classes > 0) spec.class_names = class_names;
  spec.numbers = conditions;
  if (const auto* noise = trained_phase().objectives.noise()) spec.noise = *noise;
  return spec;
}

model::Model Learner::averaged() const {
  return {network.graph(), {prepare(network.effective_weights(average.weights()))}, condition_spec(), recipe};
}

model::SampleRequest Learner::request(std::int64_t count, std::int64_t streams) const {
  return {.count = count, .first_stream = streams, .batch = 256, .energies = false};
}

Checkpoint Learner::checkpoint() const {
  Checkpoint c;
  c.step = step;
  c.rollbacks = rollbacks;
  c.phase = entered;
  c.phase_steps = phase_steps;
  c.data = data_print;
  c.threads = at::get_num_threads();
  c.engine = frozen->description();
  c.machine = machine();
  c.network = {network.graph(),
               network.parameters(),
               network.buffers(),
               {{"step", std::to_string(step)},
                {"low", fmt::format("{}", recipe.data.low)},
                {"high", fmt::format("{}", recipe.data.high)}}};
  c.network.metadata.merge(metadata_of(condition_spec()));
  c.average = average.weights();
  c.state["optimizer"] = optimizer->state();
  c.state["used"] = {{"records", at::scalar_tensor(used.records, at::kLong)},
                     {"chains", at::scalar_tensor(used.chains, at::kLong)},
                     {"data", at::scalar_tensor(used.data, at::kLong)}};
  c.state["average"] = {{"step", at::scalar_tensor(average.step(), at::kLong)}};
  for (const auto& [name, objective] : objectives) c.state[name] = objective->state();
  return c;
}

void Learner::restore(const Checkpoint& c) {
  const at::NoGradGuard no_grad;
  step = c.step;
  const std::int64_t within = place_of(recipe, step).second;
  // The checkpoint tells the scale of its own phase; a measured one holds for all that are measured alike.
  const auto scale = model::condition_spec(c.network.graph, c.network.metadata).noise;
  if (scale && measured.contains(c.phase.empty() ? phase().name : c.phase)) keep_scale(*scale);
  entered = c.phase.empty() ? phase().name : c.phase;
  phase_steps = c.phase.empty() ? within : c.phase_steps;
  used = used_before(step);
  if (const auto said = c.state.find("used"); said != c.state.end()) {
    const auto number = [&](const char* name) { return said->second.at(name).item<std::int64_t>(); };
    used = {number("records"), number("chains"), number(said->second.contains("data") ? "data" : "records")};
  }
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

void Learner::start_anew() {
  // Fresh buffers: the old chains may sit where the energy broke.
  objectives = make_objectives(phase(), network.graph());
  used.chains = 0;  // under a seed of their own
}

data::Batch Learner::next_batch() {
  try {
    // While a device works, the next one is made.
    const std::int64_t first = used.data, count = phase().batch;
    return device.is_cuda() ? ahead_.take(first, count) : data.from(first, count);
  } catch (const UserError& e) {
    throw UnreadableData(e.what());
  }
}

std::string Learner::advance() {
  const auto [index, within] = place_of(recipe, step);
  const PhaseOptions& p = recipe.phases[index];
  const data::Batch batch = next_batch();

  network.advance_spectral_norm();
  const at::AutoGradMode enable(true);
  const nn::EffectiveWeights weights = network.effective_weights();
  frozen->refresh(weights);
  // Once an objective has moved what it keeps, the step is not given up any more.
  bool moved = false;
  const std::function<bool()> stop = stop_within ? [&] { return !moved && stop_within(); } : stop_within;
  const Step now{network.graph(), weights, *frozen,      batch.x.to(device), labels_of(batch),
                 attempt_seed(),  step,    used.records, used.chains,        stop};
  at::Tensor total;  // of what autograd derives
  double value = 0;
  nn::Tensors by_engine;
  Metrics figures;
  for (const auto& [_, objective] : objectives) {
    Loss loss = objective->loss(now);
    moved = moved || !objective->state().empty();
    if (loss.non_finite > 0)
      return fmt::format("{} steps of chains met energies or gradients that are not finite", loss.non_finite);
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
  const std::vector<at::Tensor> gradients = parameter_gradients(network.parameters(), weights, total, by_engine);
  const double rate = learning_rate(p.optimizer, within, p.steps) *
                      std::pow(recipe.watchdog.learning_rate_factor, static_cast<double>(rollbacks));
  const double norm = optimizer->update(p.optimizer, rate, network.parameters(), gradients);
  if (!std::isfinite(norm)) return "the parameters' gradient is not finite";
  average.update(network.parameters(), p.average);
  ++step;
  ++phase_steps;
  used.add(p, within, 1);
  figures.insert(figures.begin(), {"loss", value});
  figures.emplace_back("gradient_norm", norm);
  figures.emplace_back("learning_rate", rate);
  if (due_after(recipe, step).metrics) observer.metrics(step, p.name, figures);
  return {};
}

bool Learner::try_step(std::string& trouble) {
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

std::optional<double> Learner::accuracy() const {
  if (validation->size() == 0) return {};
  const data::Batch held_out = validation->first(validation->size());
  return training::accuracy(network.graph(), network.effective_weights(average.weights()), held_out.x.to(device),
                            held_out.labels.to(device));
}

std::unique_ptr<Learner> make_learner(const Recipe& recipe, const fs::path& run, Observer& observer) {
  io::check("", recipe);
  if (recipe.threads > 0) at::set_num_threads(static_cast<int>(recipe.threads));
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  const data::Dataset train = data::load(recipe.data, data::Split::train, seed);
  for (const std::string& note : train.notes) observer.message(note);
  check_memory(recipe, train.shape());
  check_augmentation(recipe, train);
  auto learner = std::make_unique<Learner>(recipe, run, observer, train);
  if (learner->classifies())
    learner->validation.emplace(data::load(recipe.data, data::Split::validation, seed), as_they_are(recipe.data), seed);
  return learner;
}

}  // namespace igebm::training
