#include "igebm/evaluation/scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"

namespace igebm::evaluation {

Scorer::Scorer(const model::Model& model, const ScorerOptions& options)
    : space_(model.space()),
      dequantize_(model.settings().data.dequantize),
      device_(model.device()),
      profile_(model, options.condition, options.levels) {}

at::Tensor Scorer::into_model(const at::Tensor& inputs) const {
  if (inputs.sizes().slice(1).vec() != space_.shape)
    throw UserError(fmt::format("inputs of shape ({}), where ({}) is expected",
                                fmt::join(inputs.sizes().slice(1), ", "), fmt::join(space_.shape, ", ")));
  if (space_.kind == model::SampleSpace::Kind::points) return inputs.to(at::kFloat);
  const at::Tensor bytes = inputs.to(at::kFloat);
  return space_.from_unit(dequantize_ ? (bytes + 0.5) / 256 : bytes / 255);
}

at::Tensor Scorer::figures(const at::Tensor& /*inputs*/, const Profile& profile) const {
  return at::cat({profile.log_norm, profile.energy}, 1);
}

void Scorer::fit(const at::Tensor& usual, const Progress& progress) {
  const Profile profile = profile_.of(into_model(usual), -1, progress);
  const at::Tensor z = figures(usual, profile);
  const std::int64_t count = z.size(0);
  Mahalanobis distance(z.slice(0, 0, count, 2));
  const at::Tensor anomaly = distance.of(z.slice(0, 1, count, 2));
  usual_ = Usual{.distance = std::move(distance),
                 .anomaly = anomaly,
                 .energy = profile.energy.select(1, 0).median().item<double>(),
                 .fitted = (count + 1) / 2};
  if (space_.shape == std::vector<std::int64_t>{2}) usual_->log_z = log_normaliser(usual.abs().max().item<double>());
}

double Scorer::log_normaliser(double extent) const {
  constexpr std::int64_t side = 1000;
  const double bound = 1.5 * extent + 5 * sigmas().front(), cell = 2 * bound / side;
  const at::Tensor axis = (at::arange(side, at::kFloat) + 0.5) * cell - bound;
  const at::Tensor points = at::stack({axis.repeat({side}), axis.repeat_interleave(side)}, 1);
  return at::logsumexp(-energies(points), 0).item<double>() + 2 * std::log(cell);
}

Scores Scorer::of(const at::Tensor& inputs, std::int64_t gradient_level, const Progress& progress) const {
  Scores scores{.profile = profile_.of(into_model(inputs), gradient_level, progress)};
  scores.energy = scores.profile.energy.select(1, 0);
  scores.gradient_norm = scores.profile.log_norm.select(1, 0).exp() / sigmas().front();
  scores.anomaly = usual_->distance.of(figures(inputs, scores.profile));
  scores.p = p_values(scores.anomaly, usual_->anomaly);
  return scores;
}

at::Tensor Scorer::energies(const at::Tensor& inputs) const {
  constexpr std::int64_t batch = 1024;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : into_model(inputs).split(batch))
    parts.push_back(profile_.energy(0).energy(part.contiguous().to(device_)).to(at::kDouble).cpu());
  return at::cat(parts);
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

}  // namespace igebm::evaluation
