#include "igebm/energy/compose.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::energy {
namespace {

std::vector<double> one_each(std::vector<double> weights, std::size_t parts, const char* who) {
  if (parts == 0) throw UserError(fmt::format("{}: expected at least one energy", who));
  if (weights.empty()) weights.assign(parts, 1.0);
  if (weights.size() != parts)
    throw UserError(fmt::format("{}: {} weights for {} energies", who, weights.size(), parts));
  return weights;
}

Recordings* if_all(const std::vector<EnergyPtr>& parts, Recordings& own) {
  const bool all = std::all_of(parts.begin(), parts.end(), [](const auto& p) { return p->recordings() != nullptr; });
  return all ? &own : nullptr;
}

}  // namespace

Recordings* Sum::recordings() const { return if_all(parts_, recordings_); }
Recordings* Mixture::recordings() const { return if_all(parts_, recordings_); }

Sum::Sum(std::vector<EnergyPtr> parts, std::vector<double> weights)
    : parts_(std::move(parts)), weights_(one_each(std::move(weights), parts_.size(), "Sum")) {}

at::Tensor Sum::energy(const at::Tensor& x) const {
  at::Tensor sum = weights_[0] * parts_[0]->energy(x);
  for (std::size_t i = 1; i < parts_.size(); ++i) sum = sum + weights_[i] * parts_[i]->energy(x);
  return sum;
}

EnergyAndGradient Sum::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  EnergyAndGradient sum = parts_[0]->energy_and_gradient(x);
  sum = {weights_[0] * sum.energy, weights_[0] * sum.gradient};
  for (std::size_t i = 1; i < parts_.size(); ++i) {
    const auto [e, g] = parts_[i]->energy_and_gradient(x);
    sum.energy.add_(e, weights_[i]);
    sum.gradient.add_(g, weights_[i]);
  }
  return sum;
}

bool Sum::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy, float* gradient) const {
  for (const auto& part : parts_) {
    if (!part->evaluate(x, 0, elements, energy, gradient)) return false;
  }
  std::vector<float> e(static_cast<std::size_t>(count)), g(static_cast<std::size_t>(count * elements));
  std::fill_n(energy, count, 0.0F);
  std::fill_n(gradient, count * elements, 0.0F);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    parts_[p]->evaluate(x, count, elements, e.data(), g.data());
    const auto weight = static_cast<float>(weights_[p]);
    for (std::size_t i = 0; i < e.size(); ++i) energy[i] += weight * e[i];
    for (std::size_t i = 0; i < g.size(); ++i) gradient[i] += weight * g[i];
  }
  return true;
}

Mixture::Mixture(std::vector<EnergyPtr> parts, std::vector<double> weights) : parts_(std::move(parts)) {
  for (const double w : one_each(std::move(weights), parts_.size(), "Mixture")) {
    if (!(w > 0)) throw UserError(fmt::format("Mixture: expected positive weights, got {}", w));
    log_weights_.push_back(std::log(w));
  }
}

at::Tensor Mixture::energy(const at::Tensor& x) const {
  std::vector<at::Tensor> terms;
  for (std::size_t i = 0; i < parts_.size(); ++i) terms.push_back(log_weights_[i] - parts_[i]->energy(x));
  return -at::logsumexp(at::stack(terms, 1), 1);
}

EnergyAndGradient Mixture::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> terms, gradients;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const auto [e, g] = parts_[i]->energy_and_gradient(x);
    terms.push_back(log_weights_[i] - e);
    gradients.push_back(g);
  }
  const at::Tensor all = at::stack(terms, 1), responsibility = at::softmax(all, 1);
  std::vector<std::int64_t> column(static_cast<std::size_t>(x.dim()), 1);
  column[0] = x.size(0);
  at::Tensor gradient = at::zeros_like(gradients[0]);
  for (std::size_t i = 0; i < parts_.size(); ++i)
    gradient += responsibility.select(1, static_cast<std::int64_t>(i)).reshape(column) * gradients[i];
  return {-at::logsumexp(all, 1), gradient};
}

Masked::Masked(EnergyPtr part, const at::Tensor& free, const at::Tensor& fixed)
    : part_(std::move(part)), free_(free.to(at::kBool)), fixed_(fixed) {
  if (!at::is_expandable_to(free_.sizes(), fixed_.sizes()) && !at::is_expandable_to(fixed_.sizes(), free_.sizes()))
    throw UserError(fmt::format("Masked: a mask of {} and values of {} do not broadcast", fmt::join(free_.sizes(), "x"),
                                fmt::join(fixed_.sizes(), "x")));
}

at::Tensor Masked::energy(const at::Tensor& x) const { return part_->energy(at::where(free_, x, fixed_)); }

EnergyAndGradient Masked::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  auto [e, g] = part_->energy_and_gradient(at::where(free_, x, fixed_));
  return {e, at::where(free_, g, 0)};
}

namespace {

class Rescaled : public Energy {
 public:
  Rescaled(EnergyPtr part, double factor, double scale) : part_(std::move(part)), factor_(factor), scale_(scale) {}
  at::Tensor energy(const at::Tensor& x) const override { return scale_ * part_->energy(factor_ * x); }
  EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    const auto [e, g] = part_->energy_and_gradient(factor_ * x);
    return {scale_ * e, scale_ * factor_ * g};
  }
  Recordings* recordings() const override { return part_->recordings() != nullptr ? &recordings_ : nullptr; }

 private:
  EnergyPtr part_;
  double factor_, scale_;
  mutable Recordings recordings_;  // after the part, whose memory they use
};

}  // namespace

EnergyPtr rescaled(EnergyPtr part, double factor, double scale) {
  return std::make_shared<Rescaled>(std::move(part), factor, scale);
}

EnergyPtr negation(EnergyPtr part) {
  return std::make_shared<Sum>(std::vector<EnergyPtr>{std::move(part)}, std::vector<double>{-1.0});
}

EnergyPtr tempered(EnergyPtr part, double temperature) {
  if (!(temperature > 0)) throw UserError(fmt::format("tempered: expected a temperature above 0, got {}", temperature));
  return std::make_shared<Sum>(std::vector<EnergyPtr>{std::move(part)}, std::vector<double>{1 / temperature});
}

}  // namespace igebm::energy
