#include "igebm/scoring/noise_profile.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/base/philox.h"
#include "igebm/base/random.h"
#include "igebm/energy/compose.h"

namespace igebm::scoring {
namespace {

/// A level's part of Profile::layout, of gradients (N, C, H, W).
at::Tensor layout_of(const at::Tensor& gradient) {
  const at::Tensor g = gradient.to(at::kDouble), p = g.square().mean(1),
                   r = p.mean(at::IntArrayRef{1, 2}).clamp_min(1e-24);
  const auto neighbours = [&](std::int64_t along) {
    const std::int64_t last = g.size(along) - 1;
    return (g.narrow(along, 1, last) * g.narrow(along, 0, last)).mean(at::IntArrayRef{1, 2, 3}) / r;
  };
  std::vector<at::Tensor> columns = {(p.square().mean(at::IntArrayRef{1, 2}) / r.square()).clamp_min(1e-24).log(),
                                     neighbours(3), neighbours(2)};
  if (g.size(1) > 1) columns.push_back(g.mean(1).square().mean(at::IntArrayRef{1, 2}) / r);
  return at::stack(columns, 1).cpu();
}

class Averaged : public energy::Energy {
 public:
  Averaged(energy::EnergyPtr inner, std::vector<at::Tensor> noise)
      : inner_(std::move(inner)), noise_(std::move(noise)) {}

  at::Tensor energy(const at::Tensor& x) const override {
    at::Tensor sum;
    for (const at::Tensor& shift : noise_) add(inner_->energy(x + shift).to(at::kDouble), sum);
    return sum / count();
  }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    energy::EnergyAndGradient sum;
    for (const at::Tensor& shift : noise_) {
      const auto one = inner_->energy_and_gradient(x + shift);
      add(one.energy.to(at::kDouble), sum.energy);
      add(one.gradient, sum.gradient);
    }
    return {sum.energy / count(), sum.gradient / count()};
  }

 private:
  static void add(const at::Tensor& one, at::Tensor& sum) { sum = sum.defined() ? sum + one : one; }
  double count() const { return static_cast<double>(noise_.size()); }
  energy::EnergyPtr inner_;
  std::vector<at::Tensor> noise_;
};

}  // namespace

std::vector<at::Tensor> level_noise(at::IntArrayRef shape, double sigma, const LevelNoise& noise) {
  std::vector<at::Tensor> all;
  for (std::int64_t k = 0; k < noise.draws; ++k) {
    const at::Tensor z = at::empty(shape, at::kFloat);
    random_normal({.seed = noise.seed,
                   .purpose = Purpose::telling,
                   .stream = static_cast<std::uint64_t>((k / 2) | (k % 2 == 1 ? negated_stream : 0)),
                   .step = std::bit_cast<std::uint32_t>(static_cast<float>(sigma))},
                  {z.data_ptr<float>(), static_cast<std::size_t>(z.numel())});
    all.push_back(z.mul_(sigma).unsqueeze(0));
  }
  if (all.empty()) all.push_back(at::zeros(shape, at::kFloat).unsqueeze(0));
  return all;
}

energy::EnergyPtr averaged(energy::EnergyPtr energy, std::vector<at::Tensor> noise) {
  return std::make_shared<Averaged>(std::move(energy), std::move(noise));
}

std::vector<double> profile_levels(const model::Model& model, std::int64_t count) {
  const auto& noise = model.condition_spec().noise;
  if (!noise) return {1};
  const double least = std::log(noise->sigma_min),
               greatest = std::log(std::min(4 * noise->sigma_data, noise->sigma_max));
  std::vector<double> sigmas;
  for (std::int64_t i = 0; i < count; ++i) {
    const double along = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
    sigmas.push_back(std::exp(least + along * (greatest - least)));
  }
  return sigmas;
}

energy::EnergyPtr energy_under(const model::Model& model, const nn::Condition& condition, double sigma) {
  const model::ConditionSpec& spec = model.condition_spec();
  const auto at = [&](const nn::Condition& given) {
    return spec.noise ? model.energy(given, sigma) : model.energy(given);
  };
  if (!condition.empty() || spec.optional_condition || (spec.classes == 0 && spec.values == 0)) return at(condition);
  if (spec.values > 0) throw UserError("this model's energies need numbers (a condition), and none are given");
  std::vector<energy::EnergyPtr> of_class;
  for (std::int64_t y = 0; y < spec.classes; ++y) of_class.push_back(at({.classes = at::full({1}, y, at::kLong)}));
  return std::make_shared<energy::Mixture>(
      std::move(of_class),
      std::vector<double>(static_cast<std::size_t>(spec.classes), 1 / static_cast<double>(spec.classes)));
}

NoiseProfile::NoiseProfile(const model::Model& model, const nn::Condition& condition, std::int64_t levels)
    : device_(model.device()), sigmas_(profile_levels(model, levels)) {
  for (const double sigma : sigmas_) energies_.push_back(energy_under(model, condition, sigma));
}

Profile NoiseProfile::of(const at::Tensor& x, std::int64_t gradient_level, const Progress& progress) const {
  constexpr std::int64_t batch = 64;
  const at::NoGradGuard no_grad;
  const std::int64_t count = x.size(0), levels = static_cast<std::int64_t>(sigmas_.size());
  Profile profile{.energy = at::empty({count, levels}, at::kDouble),
                  .log_norm = at::empty({count, levels}, at::kDouble)};
  if (gradient_level >= 0) profile.gradient = at::empty(x.sizes(), at::kFloat);
  std::vector<at::Tensor> layouts;
  for (std::int64_t begin = 0; begin < count; begin += batch) {
    const std::int64_t end = std::min(count, begin + batch);
    const at::Tensor part = x.slice(0, begin, end).to(at::kFloat).contiguous().to(device_);
    std::vector<at::Tensor> layout;
    for (std::int64_t level = 0; level < levels; ++level) {
      const auto place = static_cast<std::size_t>(level);
      const auto [energy, gradient] = energies_[place]->energy_and_gradient(part);
      const at::Tensor norm = gradient.flatten(1).to(at::kDouble).square().sum(1).sqrt() * sigmas_[place];
      profile.energy.slice(0, begin, end).select(1, level).copy_(energy);
      // Where the gradient is 0 to the last bit, its logarithm is to stay finite.
      profile.log_norm.slice(0, begin, end).select(1, level).copy_(norm.clamp_min(1e-12).log());
      if (gradient.dim() == 4) layout.push_back(layout_of(gradient));
      if (level == gradient_level) profile.gradient.slice(0, begin, end).copy_(gradient * sigmas_[place]);
    }
    if (!layout.empty()) layouts.push_back(at::cat(layout, 1));
    if (progress) progress(end, count);
  }
  if (!layouts.empty()) profile.layout = at::cat(layouts);
  return profile;
}

}  // namespace igebm::scoring
