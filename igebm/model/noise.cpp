#include "igebm/model/noise.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/nn/conditions.h"

namespace igebm::model {

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

}  // namespace igebm::model
