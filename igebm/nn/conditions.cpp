#include "igebm/nn/conditions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"

namespace igebm::nn {

Conditioning conditioning(const Graph& graph) {
  return {.classes = graph.classes + graph.condition_classes,
          .conditions = graph.conditions - graph.condition_classes - graph.noise_features,
          .noise_features = graph.noise_features};
}

at::Tensor noise_features(const at::Tensor& sigma, std::int64_t count) {
  if (count < 2 || count % 2 != 0)
    throw UserError(fmt::format("noise features: expected an even number of them, got {}", count));
  if (sigma.dim() != 1 || !sigma.gt(0).all().item<bool>())
    throw UserError("noise features: expected a list of noise levels above 0");
  constexpr double lowest = 0.25, highest = 16;
  const at::Tensor log_frequencies = at::linspace(std::log(lowest), std::log(highest), count / 2, at::kDouble);
  const at::Tensor angles =
      sigma.to(at::kDouble).log().unsqueeze(1) * log_frequencies.exp().to(sigma.device()).unsqueeze(0);
  return at::cat({angles.cos(), angles.sin()}, 1).to(at::kFloat);
}

at::Tensor condition_rows(const Graph& graph, const at::Tensor& labels, const at::Tensor& sigma) {
  if (graph.noise_features == 0) return labels;
  const at::Tensor features = noise_features(sigma, graph.noise_features);
  const Conditioning on = conditioning(graph);
  Graph without_noise;
  without_noise.classes = on.classes;
  without_noise.conditions = on.conditions;
  if (!without_noise.conditional()) return features;
  without_noise.check_labels(labels, sigma.size(0));
  const at::Tensor rows = on.classes > 0 ? at::one_hot(labels, on.classes) : labels;
  return at::cat({rows.to(at::kFloat), features}, 1);
}

}  // namespace igebm::nn
