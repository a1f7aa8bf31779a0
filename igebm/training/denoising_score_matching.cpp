#include "igebm/training/denoising_score_matching.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/io/ranges.h"
#include "igebm/nn/conditions.h"
#include "igebm/sampling/schedule.h"
#include "igebm/training/slope.h"

namespace igebm::training {

using io::Fields;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)
namespace {

/// The noise level of the record with random stream `stream`.
double draw_level(const DenoisingScoreMatchingOptions& o, std::uint64_t seed, std::uint64_t stream) {
  const RandomPlace place{seed, Purpose::noise_level, stream, 0}, choice{seed, Purpose::noise_level, stream, 1},
      normal{seed, Purpose::noise_level, stream, 2};
  const model::NoiseScale& scale = o.noise;
  if (o.law == NoiseLaw::log_normal && random_uniform(choice) >= o.uniform_share) {
    float z = 0;
    random_normal(normal, {&z, 1});
    return std::clamp(std::exp(o.log_mean + o.log_deviation * static_cast<double>(z)), scale.sigma_min,
                      scale.sigma_max);
  }
  const bool one_of_levels = o.law == NoiseLaw::log_uniform && o.levels > 1;
  const double share = one_of_levels
                           ? static_cast<double>(random_index(place, o.levels)) / static_cast<double>(o.levels - 1)
                           : random_uniform(place);
  return sampling::geometric(scale.sigma_min, scale.sigma_max, share);
}

}  // namespace

void describe(Fields& f, DenoisingScoreMatchingOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  f.field("form", o.noise.form,
          "of E(x, sigma); preconditioned: a Gaussian's energy and what the data's differs from it by");
  f.field("sigma_min", o.noise.sigma_min, positive, "least noise level, a standard deviation");
  f.field("sigma_max", o.noise.sigma_max, positive, "greatest, about the greatest distance between data");
  f.field("law", o.law, "of the noise levels drawn between them");
  f.field("levels", o.levels, count_from_zero, "of law = \"log-uniform\": one of so many, geometric; 0: any between");
  f.field("log_mean", o.log_mean, any_float, "of law = \"log-normal\": the mean of ln sigma");
  f.field("log_deviation", o.log_deviation, positive, "of law = \"log-normal\": the standard deviation of ln sigma");
  f.field("uniform_share", o.uniform_share, share, "of law = \"log-normal\": of records that are log-uniform instead");
  f.field("sigma_data", o.noise.sigma_data, not_negative,
          "root mean square of the data's elements, about; 0: measured, or 0.5 with form = \"noise\"");
  if (o.noise.sigma_min >= o.noise.sigma_max) f.problem("sigma_min", "sigma_min must be below sigma_max");
  f.field("time_score", o.time_score, not_negative,
          "of form = \"preconditioned\": weight of dual score matching's term, which makes energies compare; 0: none");
  f.field("classes", o.classes, not_negative,
          "weight of the cross entropy of softmax(-E) over classes, which makes their energies compare; 0: none");
  f.field("classes_share", o.classes_share, share, "of a step's records that it is taken of");
  if (o.time_score > 0 && o.noise.form != model::EnergyForm::preconditioned)
    f.problem("time_score", "only with form = \"preconditioned\"");
  if (o.levels == 1) f.problem("levels", "expected 0, or at least 2");
  if (o.levels > 0 && o.law != NoiseLaw::log_uniform) f.problem("levels", "only with law = \"log-uniform\"");
}

DenoisingScoreMatching::DenoisingScoreMatching(const DenoisingScoreMatchingOptions& options, const nn::Graph& graph)
    : options_(options) {
  if (graph.noise_features == 0)
    throw UserError("denoising_score_matching: the network takes no noise level; set network.noise_features");
  if (!(options.noise.sigma_data > 0)) throw UserError("denoising_score_matching: expected sigma_data above 0");
  if (options.time_score > 0 && options.noise.form != model::EnergyForm::preconditioned)
    throw UserError("denoising_score_matching: time_score: expected form = \"preconditioned\" beside it");
  if (options.classes > 0 && graph.condition_classes < 2)
    throw UserError("denoising_score_matching: classes: the network takes none; set network.labels");
}

// With u = c y, c and the features of sigma functions of sigma, and D the derivative of G(u, sigma) by ln sigma at
// fixed y, along du/d ln sigma = -sigma^2 c^2 u and that of the features:
//   sigma dE/dsigma = sigma^2 c^2 (d - |u|^2) + s / sigma (D - G).
engine::Motion DenoisingScoreMatching::time_score(const Step& step, const at::Tensor& u, const at::Tensor& noise,
                                                  const at::Tensor& sigma) const {
  const auto count = static_cast<double>(u.size(0)), d = static_cast<double>(u.numel()) / count;
  const double s = options_.noise.sigma_data;
  const auto squares = [](const at::Tensor& x) { return x.flatten(1).to(at::kDouble).square().sum(1); };
  const at::Tensor share = sigma.square() / (sigma.square() + s * s), scale = scale_of(sigma);
  return {.x_dot = -column(share.to(u.options()), u) * u,
          .labels_dot = nn::condition_rows_slope(step.graph, sigma),
          .energy_rate = -1,
          .offsets = (share * (d - squares(u)) - (d - squares(noise))) / scale,
          .weights = options_.time_score / (count * d) * scale.square()};
}

at::Tensor DenoisingScoreMatching::by_differences(const Step& step, const at::Tensor& y, const at::Tensor& sigma,
                                                  const engine::Motion& motion, nn::Tensors& into) const {
  // A tenth of the angle that the features' greatest frequency, 16, turns by is an error of 0.2 % in their derivative.
  constexpr double h = 0.1 / 16;
  const std::int64_t count = y.size(0);
  const double s = options_.noise.sigma_data;
  std::vector<at::Tensor> inputs, levels;
  for (const double shift : {0.0, h, -h}) {
    levels.push_back(sigma * std::exp(shift));
    inputs.push_back(column((levels.back().square() + s * s).rsqrt().to(y.options()), y) * y);
  }
  const at::Tensor labels = step.labels.defined() ? at::cat({step.labels, step.labels, step.labels}) : at::Tensor();
  const at::Tensor u = at::cat(inputs), rows = nn::condition_rows(step.graph, labels, at::cat(levels));
  at::Tensor g;
  {
    const at::NoGradGuard no_grad;  // by the weights themselves: a frozen energy may have fewer digits
    g = nn::evaluate(step.graph, step.weights, u, rows).to(at::kDouble);
  }
  const at::Tensor at_u = g.slice(0, 0, count),
                   slope = (g.slice(0, count, 2 * count) - g.slice(0, 2 * count)) / (2 * h);
  const at::Tensor residuals = motion.offsets + slope + motion.energy_rate * at_u, pull = motion.weights * residuals;
  step.frozen.parameter_gradient(
      u, rows, at::cat({motion.energy_rate * pull, pull / (2 * h), -pull / (2 * h)}).to(y.options()), {}, into);
  return residuals;
}

at::Tensor DenoisingScoreMatching::scale_of(const at::Tensor& sigma) const {
  const double s = options_.noise.sigma_data;
  return options_.noise.form == model::EnergyForm::noise ? (sigma.square() + s * s).sqrt() / sigma : s / sigma;
}

double DenoisingScoreMatching::of_classes(const Step& step, const at::Tensor& y, const at::Tensor& sigma,
                                          nn::Tensors& into) const {
  const auto used = static_cast<std::int64_t>(std::ceil(options_.classes_share * static_cast<double>(y.size(0))));
  const at::Tensor rows = step.labels.slice(0, 0, used).ge(0).nonzero().squeeze(1);
  const std::int64_t count = rows.size(0), classes = step.graph.condition_classes;
  if (count == 0) return 0;
  const at::Tensor levels = sigma.index_select(0, rows), labels = step.labels.index_select(0, rows).unsqueeze(1);
  const double s = options_.noise.sigma_data;
  const at::Tensor c = (levels.square() + s * s).rsqrt().to(y.options());
  const at::Tensor clean = y.index_select(0, rows), u = (column(c, clean) * clean).repeat_interleave(classes, 0);
  const at::Tensor each = nn::condition_rows(step.graph, at::arange(classes, labels.options()).repeat({count}),
                                             levels.repeat_interleave(classes));
  at::Tensor g;
  {
    const at::NoGradGuard no_grad;  // by the weights themselves, as in by_differences
    g = nn::evaluate(step.graph, step.weights, u, each).to(at::kDouble).view({count, classes});
  }
  const at::Tensor scale = scale_of(levels).unsqueeze(1);
  const at::Tensor log_p = at::log_softmax(-scale * g, 1), right = at::zeros_like(log_p).scatter_(1, labels, 1.0);
  const at::Tensor pull = scale * (right - log_p.exp()) * (options_.classes / static_cast<double>(count));
  step.frozen.parameter_gradient(u, each, pull.flatten().to(y.options()), {}, into);
  return -log_p.gather(1, labels).mean().item<double>();
}

Loss DenoisingScoreMatching::loss(const Step& step) {
  const std::int64_t count = step.data.size(0);
  const model::NoiseScale& scale = options_.noise;
  at::Tensor sigma = at::empty({count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i)
    sigma.data_ptr<double>()[i] = draw_level(options_, step.seed, static_cast<std::uint64_t>(step.first_stream + i));
  sigma = sigma.to(step.data.device());
  const at::Tensor noise = step.normals(Purpose::score_noise).to(step.data.options());
  const auto each = [&](const at::Tensor& numbers) { return column(numbers.to(step.data.options()), step.data); };
  const double s = scale.sigma_data;
  const at::Tensor c = (sigma.square() + s * s).rsqrt();
  const at::Tensor y = step.data + each(sigma) * noise;
  const at::Tensor target =
      scale.form == model::EnergyForm::noise ? noise : each(s * c) * noise - each(c * sigma / s) * step.data;
  Loss loss;
  const bool compares = options_.time_score > 0;
  const at::Tensor u = each(c) * y;
  const engine::Motion motion = compares ? time_score(step, u, noise, sigma) : engine::Motion{};
  auto [slope, residuals] =
      match_slope(step, u, nn::condition_rows(step.graph, step.labels, sigma), target,
                  options_.weight / static_cast<double>(target.numel()), loss.gradients, compares ? &motion : nullptr);
  const at::Tensor value = (slope - target).square().mean();
  loss.value = options_.weight * value;
  loss.metrics = {{"loss/denoising_score_matching", value.item<double>()}};
  if (compares) {
    if (!residuals.defined()) residuals = by_differences(step, y, sigma, motion, loss.gradients);
    const double d = static_cast<double>(y.numel()) / static_cast<double>(count);
    const double second = (scale_of(sigma) * residuals.to(at::kDouble)).square().mean().item<double>() / (2 * d);
    loss.value = loss.value + options_.time_score * second;
    loss.metrics.emplace_back("loss/time_score", second);
  }
  if (options_.classes > 0) {
    const double third = of_classes(step, y, sigma, loss.gradients);
    loss.value = loss.value + options_.classes * third;
    loss.metrics.emplace_back("loss/classes", third);
  }
  loss.relative = (value / target.square().mean()).item<double>();
  return loss;
}

}  // namespace igebm::training
