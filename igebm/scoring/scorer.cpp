#include "igebm/scoring/scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/generation/normaliser.h"
#include "igebm/scoring/plane_law.h"

namespace igebm::scoring {

Scorer::Scorer(const model::Model& model, const ScorerOptions& options)
    : space_(model.space()),
      dequantize_(model.settings().data.dequantize),
      device_(model.device()),
      profile_(model, options.condition, options.levels) {
  if (!model.condition_spec().noise) return;
  if (options.levels_compare && options.condition.empty())
    own_log_z_ = [greatest = model.condition_spec().noise->sigma_max, device = device_,
                  energy = energy_under(model, {}, model.condition_spec().noise->sigma_max)](const at::Tensor& x) {
      return generation::log_z_of_gaussian(*energy, greatest, x.contiguous().to(device), 0);
    };
  const double deviation = model.condition_spec().noise->sigma_data;
  for (std::size_t i = 0; i < sigmas().size(); ++i) {
    if (sigmas()[i] > deviation / 3 && sigmas()[i] < deviation * 1.5) middle_.push_back(static_cast<std::int64_t>(i));
  }
}

at::Tensor Scorer::into_model(const at::Tensor& inputs) const {
  return evaluation::into_model(inputs, space_, dequantize_);
}

Scorer::Seen Scorer::seen(const at::Tensor& inputs, const Profile& profile,
                          const std::optional<PixelGaussian>& pixels) const {
  if (!pixels) return {.figures = at::cat({profile.log_norm, profile.energy}, 1)};
  std::vector<double> levels;
  for (const double sigma : sigmas()) levels.push_back(sigma / (space_.high - space_.low));
  const Profile gaussian = pixels->profile(inputs, levels);
  const at::Tensor plain = at::stack({png_lengths(inputs).log(), total_variations(inputs).clamp_min(1e-6).log()}, 1);
  Seen seen{.figures = at::cat(
                {profile.log_norm, profile.energy, profile.layout, gaussian.log_norm, gaussian.energy, plain}, 1)};
  if (!middle_.empty())
    seen.excess = (profile.log_norm - gaussian.log_norm).index_select(1, at::tensor(middle_, at::kLong)).mean(1);
  return seen;
}

void Scorer::fit(const at::Tensor& usual, const at::Tensor& pixels, const Progress& progress) {
  std::optional<PixelGaussian> gaussian;
  if (space_.kind == model::SampleSpace::Kind::image) gaussian.emplace(pixels);
  const at::Tensor one = usual.slice(0, 0, 1);
  const std::int64_t least = 3 * seen(one, profile_.of(into_model(one)), gaussian).figures.size(1);
  if (usual.size(0) < least)
    throw UserError(
        fmt::format("the anomaly score is fitted on at least {} usual inputs, got {}", least, usual.size(0)));
  const Profile profile = profile_.of(into_model(usual), -1, progress);
  const Seen all = seen(usual, profile, gaussian);
  const at::Tensor last = at::arange(usual.size(0)).remainder(3).eq(2);
  const auto part = [](const at::Tensor& of, const at::Tensor& which) { return of.defined() ? of.index({which}) : of; };
  const at::Tensor first = last.logical_not();
  Anomaly score(part(all.figures, first), part(all.excess, first));
  score.standardise(part(all.figures, last), part(all.excess, last));
  const at::Tensor anomaly = score.of(part(all.figures, last), part(all.excess, last));
  usual_ = Usual{.score = std::move(score),
                 .anomaly = anomaly,
                 .energy = profile.energy.select(1, 0).median().item<double>(),
                 .fitted = first.sum().item<std::int64_t>(),
                 .pixels = std::move(gaussian)};
  if (space_.shape == std::vector<std::int64_t>{2})
    usual_->log_z =
        PlaneLaw(profile_.energy(0), 1.5 * usual.abs().max().item<double>() + 5 * sigmas().front(), device_).log_z();
  else if (own_log_z_)
    usual_->log_z = own_log_z_(into_model(usual.slice(0, 0, generation::gaussian_records)));
}

Scores Scorer::of(const at::Tensor& inputs, std::int64_t gradient_level, const Progress& progress) const {
  Scores scores{.profile = profile_.of(into_model(inputs), gradient_level, progress)};
  scores.energy = scores.profile.energy.select(1, 0);
  scores.gradient_norm = scores.profile.log_norm.select(1, 0).exp() / sigmas().front();
  const Seen these = seen(inputs, scores.profile, usual_->pixels);
  scores.anomaly = usual_->score.of(these.figures, these.excess);
  scores.p = p_values(scores.anomaly, usual_->anomaly);
  return scores;
}

double Scorer::usual_gradient(std::int64_t level) const {
  double elements = 1;
  for (const std::int64_t size : space_.shape) elements *= static_cast<double>(size);
  return std::exp(usual_->score.distance().mean()[level].item<double>()) / std::sqrt(elements);
}

at::Tensor Scorer::energies(const at::Tensor& inputs) const {
  constexpr std::int64_t batch = 1024;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> found;
  for (const at::Tensor& part : into_model(inputs).split(batch))
    found.push_back(profile_.energy(0).energy(part.contiguous().to(device_)).to(at::kDouble).cpu());
  return at::cat(found);
}

at::Tensor Scorer::refined(const at::Tensor& inputs, std::int64_t steps, const Progress& progress) const {
  constexpr std::int64_t batch = 64;
  const at::NoGradGuard no_grad;
  const energy::Energy& energy = profile_.energy(0);
  const double step = sigmas().front() * sigmas().front() / 2;
  std::vector<at::Tensor> falls;
  for (std::int64_t begin = 0; begin < inputs.size(0); begin += batch) {
    at::Tensor x = into_model(inputs.slice(0, begin, begin + batch)).contiguous().to(device_), first;
    for (std::int64_t i = 0; i < steps; ++i) {
      const auto at_x = energy.energy_and_gradient(x);
      if (i == 0) first = at_x.energy.to(at::kDouble);
      x = x - step * at_x.gradient;
    }
    falls.push_back((first - energy.energy(x).to(at::kDouble)).cpu());
    if (progress) progress(std::min(begin + batch, inputs.size(0)), inputs.size(0));
  }
  return at::cat(falls);
}

}  // namespace igebm::scoring
