#include "igebm/classification/logits.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"

namespace igebm::classification {
namespace {

constexpr std::int64_t pictures_at_a_time = 64;

/// How far apart black and white are to a model's energy.
double unit_range(const model::Model& model) {
  const double range = model.space().high - model.space().low;
  return model.settings().data.dequantize ? range * 255 / 256 : range;
}

}  // namespace

at::Tensor cross_entropy_slopes(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor place = labels.unsqueeze(1);
  const at::Tensor others = at::softmax(logits.to(at::kDouble), 1).scatter(1, place, 0.0);
  return others.scatter(1, place, -others.sum(1, /*keepdim=*/true));
}

energy::EnergyPtr of_unit(const model::Model& model, energy::EnergyPtr energy) {
  const model::SampleSpace& space = model.space();
  const bool bins = model.settings().data.dequantize;
  return energy::rescaled(std::move(energy), unit_range(model), 1,
                          space.low + (bins ? (space.high - space.low) / 512 : 0));
}

EnergyLogits::EnergyLogits(const model::Model& model, const std::vector<double>& sigmas,
                           const scoring::LevelNoise& noise)
    : model_(model), sigmas_(sigmas), classes_(model.condition_spec().classes) {
  if (classes_ < 2) throw UserError("this model's energies take no classes (network.labels), so it tells none");
  const scoring::LevelNoise added = model.condition_spec().noise ? noise : scoring::LevelNoise{};
  for (std::size_t l = 0; l < sigmas.size(); ++l) {
    auto& noise_of = noise_.emplace_back(scoring::level_noise(model.space().shape, sigmas[l], added));
    for (at::Tensor& one : noise_of) one = one.div(unit_range(model)).to(model.device());
    auto& level = energies_.emplace_back();
    for (std::int64_t y = 0; y < classes_; ++y) level.push_back(energy_of(nn::Condition::of_class(y), l));
  }
}

energy::EnergyPtr EnergyLogits::energy_of(const nn::Condition& condition, std::size_t level) const {
  return scoring::averaged(of_unit(model_, scoring::energy_under(model_, condition, sigmas_[level])), noise_[level]);
}

at::Tensor EnergyLogits::on_device(const at::Tensor& x) const {
  return x.to(at::kFloat).contiguous().to(model_.device());
}

at::Tensor EnergyLogits::energies(const at::Tensor& x, const Progress& progress) const {
  const at::NoGradGuard no_grad;
  const std::int64_t count = x.size(0);
  const at::Tensor all = at::empty({count, static_cast<std::int64_t>(energies_.size()), classes_}, at::kDouble);
  for (std::int64_t begin = 0; begin < count; begin += pictures_at_a_time) {
    const std::int64_t end = std::min(count, begin + pictures_at_a_time);
    const at::Tensor part = on_device(x.slice(0, begin, end));
    for (std::size_t l = 0; l < energies_.size(); ++l)
      for (std::int64_t y = 0; y < classes_; ++y)
        all.slice(0, begin, end)
            .select(1, static_cast<std::int64_t>(l))
            .select(1, y)
            .copy_(energies_[l][static_cast<std::size_t>(y)]->energy(part));
    if (progress) progress(end, count);
  }
  return all;
}

at::Tensor EnergyLogits::of(const at::Tensor& x) const { return calibration_.logits(energies(x)); }

Logits::Pulled EnergyLogits::pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked) const {
  const at::NoGradGuard no_grad;
  const auto levels = static_cast<std::int64_t>(sigmas_.size());
  const at::Tensor weights = calibration_.weights.defined() ? calibration_.weights : at::ones({levels}, at::kDouble);
  at::Tensor logits, gradient = at::zeros_like(x, at::kDouble), wanted = asked;
  if (!wanted.defined()) {
    logits = of(x);
    const at::Tensor share = cross_entropy_slopes(logits, labels).abs();
    const at::Tensor others = share.scatter(1, labels.unsqueeze(1), 0.0);
    wanted = share.ge(least_share * others.amax(1, /*keepdim=*/true)).scatter(1, labels.unsqueeze(1), true);
  }
  // Energies of pairs of a picture and a class, and -sum_l w_l dE_l/dx.
  const at::Tensor pairs = wanted.nonzero(), rows = pairs.select(1, 0), classes = pairs.select(1, 1);
  const std::int64_t count = pairs.size(0);
  const at::Tensor found = at::empty({count, levels, 1}, at::kDouble);
  const at::Tensor along = at::zeros({count, x[0].numel()}, at::kFloat);
  for (std::int64_t begin = 0; begin < count; begin += pictures_at_a_time) {
    const std::int64_t end = std::min(count, begin + pictures_at_a_time);
    const at::Tensor part = on_device(x.index_select(0, rows.slice(0, begin, end)));
    const nn::Condition condition{.classes = classes.slice(0, begin, end).contiguous()};
    for (std::int64_t l = 0; l < levels; ++l) {
      const auto at_x = energy_of(condition, static_cast<std::size_t>(l))->energy_and_gradient(part);
      found.slice(0, begin, end).select(1, l).select(1, 0).copy_(at_x.energy);
      along.slice(0, begin, end).sub_(at_x.gradient.flatten(1).cpu(), weights[l].item<double>());
    }
  }
  if (asked.defined()) {
    const at::Tensor energies = at::zeros({x.size(0), levels, classes_}, at::kDouble);
    energies.index_put_({rows, at::Tensor{}, classes}, found.squeeze(2));
    logits = calibration_.logits(energies).masked_fill(asked.logical_not(), -INFINITY);
  }
  const at::Tensor slopes = cross_entropy_slopes(logits, labels).index({rows, classes});
  gradient.flatten(1).index_add_(0, rows, along.to(at::kDouble) * slopes.unsqueeze(1));
  return {logits, gradient};
}

NetworkLogits::NetworkLogits(nn::Graph graph, nn::EffectiveWeights weights, double low, double high)
    : graph_(std::move(graph)), weights_(std::move(weights)), low_(low), high_(high) {
  if (graph_.outputs < 2) throw UserError("this network is an energy, not a classifier");
}

at::Tensor NetworkLogits::logits(const at::Tensor& x) const {
  const at::Tensor weight = weights_.begin()->second;
  const at::Tensor raw = nn::evaluate(graph_, weights_, (x * (high_ - low_) + low_).to(weight.scalar_type()));
  return calibration_.logits(-raw.to(at::kDouble).unsqueeze(1));
}

at::Tensor NetworkLogits::of(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : x.split(pictures_at_a_time)) parts.push_back(logits(part));
  return at::cat(parts);
}

Logits::Pulled NetworkLogits::pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& /*asked*/) const {
  std::vector<at::Tensor> all, gradients;
  for (std::int64_t begin = 0; begin < x.size(0); begin += pictures_at_a_time) {
    const at::Tensor part = x.slice(0, begin, std::min(x.size(0), begin + pictures_at_a_time));
    const at::AutoGradMode enable(true);
    const at::Tensor input = part.detach().to(at::kDouble).requires_grad_();
    const at::Tensor found = logits(input);
    all.push_back(found.detach());
    const at::Tensor c = cross_entropy_slopes(all.back(), labels.slice(0, begin, begin + part.size(0)));
    // In float, slopes far below 1 would come back as 0: each picture's are brought to size 1 on the way.
    const at::Tensor size = c.abs().amax(1, /*keepdim=*/true).clamp_min(1e-300);
    const at::Tensor gradient = torch::autograd::grad({(found * (c / size)).sum()}, {input})[0];
    gradients.push_back(gradient * size.view({-1, 1, 1, 1}));
  }
  return {at::cat(all), at::cat(gradients)};
}

}  // namespace igebm::classification
