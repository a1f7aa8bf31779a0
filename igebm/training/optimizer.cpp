#include "igebm/training/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/io/ranges.h"
#include "igebm/training/muon.h"

namespace igebm::training {

using io::Fields;
using io::Range;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)
namespace {

at::Tensor flatten(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> flat;
  flat.reserve(tensors.size());
  for (const auto& t : tensors) flat.push_back(t.detach().reshape({-1}));
  return at::cat(flat);
}

std::int64_t total_size(const nn::Tensors& parameters) {
  std::int64_t size = 0;
  for (const auto& [_, p] : parameters) size += p.numel();
  return size;
}

}  // namespace

void describe(Fields& f, OptimizerOptions& o) {
  f.field("kind", o.kind, "muon: of weights that are matrices, Adam of the rest");
  f.field("learning_rate", o.learning_rate, positive, "of Adam; Muon's goes by it");
  f.field("beta1", o.beta1, Range{0, 1, false, true}, "decay of Adam's first moment");
  f.field("beta2", o.beta2, Range{0, 1, false, true}, "decay of Adam's second moment");
  f.field("epsilon", o.epsilon, positive, "added to the root of the second moment");
  f.field("momentum", o.momentum, Range{0, 1, false, true}, "of Muon");
  f.field("factor", o.factor, positive, "of Muon's steps, whose elements are about 0.2 factor learning_rate");
  f.field("clip", o.clip, "of the parameters' gradient; second-moment: of what Adam moves");
  f.field("clip_norm", o.clip_norm, positive, "for clip = \"norm\"");
  f.field("warmup", o.warmup, count_from_zero, "steps of linear warm-up");
  f.field("schedule", o.schedule, "of the learning rate over the phase");
  f.field("final_share", o.final_share, share, "of the learning rate that cosine ends at");
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, const nn::Tensors& parameters) {
  if (options.kind == OptimizerKind::muon) return std::make_unique<Muon>(parameters);
  return std::make_unique<Adam>(parameters);
}

double learning_rate(const OptimizerOptions& o, std::int64_t step, std::int64_t total) {
  const auto t = static_cast<double>(step);
  const double warm = o.warmup > 0 ? std::min(1.0, (t + 1) / static_cast<double>(o.warmup)) : 1;
  if (o.schedule == Schedule::constant) return o.learning_rate * warm;
  const double x = total > 0 ? std::min(1.0, t / static_cast<double>(total)) : 1;
  return o.learning_rate * warm * (o.final_share + (1 - o.final_share) * 0.5 * (1 + std::cos(std::numbers::pi * x)));
}

Adam::Adam(const nn::Tensors& parameters) {
  const c10::Device device = parameters.empty() ? c10::Device(c10::kCPU) : parameters.begin()->second.device();
  m_ = at::zeros({total_size(parameters)}, device);
  v_ = at::zeros({total_size(parameters)}, device);
}

double Adam::update(const OptimizerOptions& o, double rate, nn::Tensors& parameters,
                    const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  at::Tensor g = flatten(gradients);
  const double norm = g.norm().item<double>();
  if (!std::isfinite(norm)) return norm;
  if (o.clip == Clip::norm && norm > o.clip_norm) g.mul_(o.clip_norm / norm);
  if (o.clip == Clip::second_moment) {
    const double correction = step_ > 0 ? 1 - std::pow(o.beta2, static_cast<double>(step_)) : 1;
    const at::Tensor bound = v_.div(correction).sqrt_().mul_(3).add_(0.1);
    g = at::minimum(at::maximum(g, -bound), bound);
  }
  ++step_;
  m_.mul_(o.beta1).add_(g, 1 - o.beta1);
  v_.mul_(o.beta2).addcmul_(g, g, 1 - o.beta2);
  const double c1 = 1 - std::pow(o.beta1, static_cast<double>(step_)),
               c2 = 1 - std::pow(o.beta2, static_cast<double>(step_));
  const at::Tensor delta = m_.div(c1).div_(v_.div(c2).sqrt_().add_(o.epsilon));
  std::vector<at::Tensor> all, deltas;
  std::int64_t offset = 0;
  for (auto& [_, p] : parameters) {
    all.push_back(p);
    deltas.push_back(delta.narrow(0, offset, p.numel()).view(p.sizes()));
    offset += p.numel();
  }
  if (!all.empty()) at::_foreach_sub_(all, deltas, rate);
  return norm;
}

nn::Tensors Adam::state() const { return {{"m", m_}, {"v", v_}, {"step", at::scalar_tensor(step_, at::kLong)}}; }

void Adam::load(const nn::Tensors& state) {
  if (!state.contains("m") || !state.contains("v") || !state.contains("step") || state.contains("momentum"))
    throw UserError("optimiser state: expected Adam's; optimizer.kind is not what the checkpoint was trained with");
  const at::Tensor &m = state.at("m"), &v = state.at("v");
  if (m.sizes() != m_.sizes() || v.sizes() != v_.sizes()) throw UserError("optimiser state: of another network");
  m_.copy_(m);
  v_.copy_(v);
  step_ = state.at("step").item<std::int64_t>();
}

Average::Average(const nn::Tensors& parameters) {
  for (const auto& [name, p] : parameters) weights_[name] = p.detach().clone();
}

void Average::update(const nn::Tensors& parameters, double decay) {
  const at::NoGradGuard no_grad;
  const auto t = static_cast<double>(step_++);
  const double d = std::min(decay, (1 + t) / (10 + t));
  std::vector<at::Tensor> kept, now;
  for (const auto& [name, p] : parameters) kept.push_back(weights_.at(name)), now.push_back(p);
  if (!kept.empty()) at::_foreach_lerp_(kept, now, 1 - d);
}

}  // namespace igebm::training
