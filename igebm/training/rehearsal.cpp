#include "igebm/training/rehearsal.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "igebm/training/learner.h"
#include "igebm/training/start.h"

namespace igebm::training {

Rehearsal::Rehearsal(const Recipe& recipe, const MakeSampleMetric& make_metric) {
  learner_ = make_learner(recipe, {}, silent_);
  if (!recipe.from.empty()) start_from(*learner_, recipe.from);
  if (recipe.evaluate.every > 0) metric_ = make_metric(recipe);
  phases_ = learner_->recipe.phases;
  learner_->choose_algorithms();
  for (const auto& [name, t] : learner_->network.parameters()) start_[name] = t.detach().clone();
}
Rehearsal::~Rehearsal() = default;

void Rehearsal::enter(const PhaseOptions& phase) {
  Learner& s = *learner_;
  {
    const at::NoGradGuard no_grad;
    for (auto& [name, t] : s.network.parameters()) t.copy_(start_.at(name));
  }
  s.recipe.phases = {phase};
  s.step = 0;
  s.used = {};
  s.enter_phase();
  for (const auto& [_, objective] : s.objectives) {
    nn::Tensors chains = objective->state();
    const auto stream = chains.find("stream");  // of a replay buffer; negative: not begun
    if (stream == chains.end()) continue;
    stream->second = at::zeros_like(stream->second);
    objective->load(chains);
  }
}

std::string Rehearsal::step() { return learner_->advance(); }
void Rehearsal::classify_validation() { learner_->accuracy(); }

model::Model Rehearsal::averaged() const {
  const at::NoGradGuard no_grad;
  return learner_->averaged();
}

const nn::Network& Rehearsal::network() const { return learner_->network; }
const data::Batches& Rehearsal::data() const { return learner_->data; }
const SampleMetric& Rehearsal::metric() const { return metric_; }

evaluation::Records Rehearsal::records() const {
  const Learner& s = *learner_;
  const data::Batch batch = s.data.first(s.recipe.evaluate.count);
  evaluation::Records records{.x = model::space_of(s.network.graph().input_shape, s.recipe.data).to_unit(batch.x),
                              .labels = batch.labels};
  if (s.columns.size(0) > 0) records.conditions = batch.conditions.index_select(1, s.columns);
  return records;
}

std::string Rehearsal::engine() const { return learner_->frozen->description(); }

namespace {

std::int64_t bytes(const nn::Tensors& tensors) {
  std::size_t sum = 0;
  for (const auto& [_, t] : tensors) sum += t.nbytes();
  return static_cast<std::int64_t>(sum);
}

}  // namespace

std::int64_t Rehearsal::buffer_bytes() const {
  std::int64_t sum = 0;
  for (const auto& [_, objective] : learner_->objectives) sum += bytes(objective->state());
  return sum;
}

std::int64_t Rehearsal::checkpoint_bytes() const {
  const Checkpoint c = learner_->checkpoint();
  std::int64_t sum = bytes(c.network.parameters) + bytes(c.average) + 2 * bytes(c.network.buffers);
  for (const auto& [_, tensors] : c.state) sum += bytes(tensors);
  return sum;
}

}  // namespace igebm::training
