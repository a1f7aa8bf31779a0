#include "igebm/training/denoising_score_matching.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/slope.h"

namespace igebm::training {

DenoisingScoreMatching::DenoisingScoreMatching(const DenoisingScoreMatchingOptions& options, const nn::Graph& graph)
    : options_(options) {
  if (graph.noise_features == 0)
    throw UserError("denoising_score_matching: the network takes no noise level; set network.noise_features");
}

Loss DenoisingScoreMatching::loss(const Step& step) {
  const std::int64_t count = step.data.size(0);
  const model::NoiseScale& scale = options_.noise;
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
