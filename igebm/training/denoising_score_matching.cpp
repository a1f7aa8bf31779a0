#include "igebm/training/denoising_score_matching.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/energy/compose.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/slope.h"

namespace igebm::training {

std::string to_json(const NoiseScale& s) {
  return nlohmann::ordered_json{{"sigma_min", s.sigma_min}, {"sigma_max", s.sigma_max}, {"sigma_data", s.sigma_data}}
      .dump();
}

NoiseScale noise_scale_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    const NoiseScale s{json.at("sigma_min"), json.at("sigma_max"), json.at("sigma_data")};
    if (!(s.sigma_min > 0 && s.sigma_max > s.sigma_min && s.sigma_data > 0))
      throw UserError("a model's noise levels: expected 0 < sigma_min < sigma_max and sigma_data > 0");
    return s;
  } catch (const nlohmann::json::exception& e) {
    throw UserError(fmt::format("a model's noise levels: {}", e.what()));
  }
}

double noise_factor(const NoiseScale& scale, double sigma) { return 1 / std::hypot(sigma, scale.sigma_data); }

energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            std::int64_t count, const NoiseScale& scale, double sigma) {
  at::Tensor sigmas = at::full({count}, sigma, at::kDouble);
  if (labels.defined()) sigmas = sigmas.to(labels.device());
  const double c = noise_factor(scale, sigma);
  return energy::rescaled(network.given(nn::condition_rows(graph, labels, sigmas)), c, 1 / (sigma * c));
}

DenoisingScoreMatching::DenoisingScoreMatching(const DenoisingScoreMatchingOptions& options, const nn::Graph& graph)
    : options_(options) {
  if (graph.noise_features == 0)
    throw UserError("denoising_score_matching: the network takes no noise level; set network.noise_features");
}

Loss DenoisingScoreMatching::loss(const Step& step) {
  const std::int64_t count = step.data.size(0);
  const NoiseScale& scale = options_.noise;
  at::Tensor sigma = at::empty({count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto stream = static_cast<std::uint64_t>(step.first_stream + i);
    const RandomPlace place{step.seed, Purpose::noise_level, stream, 0};
    const double share = options_.levels > 1 ? static_cast<double>(random_index(place, options_.levels)) /
                                                   static_cast<double>(options_.levels - 1)
                                             : random_uniform(place);
    sigma.data_ptr<double>()[i] = scale.sigma_min * std::pow(scale.sigma_max / scale.sigma_min, share);
  }
  sigma = sigma.to(step.data.device());
  const at::Tensor noise = step.normals(Purpose::score_noise).to(step.data.options());
  const auto each = [&](const at::Tensor& numbers) { return column(numbers.to(step.data.options()), step.data); };
  const at::Tensor c = (sigma.square() + scale.sigma_data * scale.sigma_data).rsqrt();
  const Slope slope(step, each(c) * (step.data + each(sigma) * noise),
                    nn::condition_rows(step.graph, step.labels, sigma));
  const at::Tensor residual = slope.gradient() - noise;
  const at::Tensor value = residual.square().mean();
  Loss loss;
  slope.pull(residual,
             at::full({count}, 2 * options_.weight / static_cast<double>(residual.numel()), step.data.options()),
             loss.gradients);
  loss.value = options_.weight * value;
  loss.metrics = {{"loss/denoising_score_matching", value.item<double>()}};
  loss.relative = (value / noise.square().mean()).item<double>();
  return loss;
}

}  // namespace igebm::training
