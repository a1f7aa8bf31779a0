#include "igebm/training/rehearsal.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "igebm/training/state.h"

namespace igebm::training {

Rehearsal::Rehearsal(const Recipe& recipe, const MakeJudge& make_judge) {
  state_ = make_state(recipe, {}, silent_);
  state_->make_judge(make_judge);
  state_->choose_algorithms();
  for (const auto& [name, t] : state_->network.parameters()) start_[name] = t.detach().clone();
}
Rehearsal::~Rehearsal() = default;

void Rehearsal::enter(const PhaseOptions& phase) {
  State& s = *state_;
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

std::string Rehearsal::step() { return state_->advance(); }
void Rehearsal::classify_validation() { state_->record_accuracy(); }

model::Model Rehearsal::averaged() const {
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
