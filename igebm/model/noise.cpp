#include "igebm/model/noise.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/nn/conditions.h"

namespace igebm::model {

std::span<const io::Named<EnergyForm>> energy_forms() {
  static constexpr io::Named<EnergyForm> names[] = {{EnergyForm::noise, "noise"},
                                                    {EnergyForm::preconditioned, "preconditioned"}};
  return names;
}

std::string to_json(const NoiseScale& s) {
  nlohmann::ordered_json json{{"sigma_min", s.sigma_min}, {"sigma_max", s.sigma_max}, {"sigma_data", s.sigma_data}};
  if (s.form != EnergyForm::noise) json["form"] = io::name_of(energy_forms(), s.form);
  return json.dump();
}

NoiseScale noise_scale_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    NoiseScale s{json.at("sigma_min"), json.at("sigma_max"), json.at("sigma_data")};
    s.form = io::value_of(energy_forms(), json.value("form", "noise"), "a model's noise levels: form");
    if (!(s.sigma_min > 0 && s.sigma_max > s.sigma_min && s.sigma_data > 0))
      throw UserError("a model's noise levels: expected 0 < sigma_min < sigma_max and sigma_data > 0");
    return s;
  } catch (const nlohmann::json::exception& e) {
    throw UserError(fmt::format("a model's noise levels: {}", e.what()));
  }
}

double noise_factor(const NoiseScale& scale, double sigma) { return 1 / std::hypot(sigma, scale.sigma_data); }

double start_deviation(const NoiseScale& scale) {
  return scale.form == EnergyForm::noise ? scale.sigma_max : std::hypot(scale.sigma_max, scale.sigma_data);
}

energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            std::int64_t count, const NoiseScale& scale, double sigma) {
  at::Tensor sigmas = at::full({count}, sigma, at::kDouble);
  if (labels.defined()) sigmas = sigmas.to(labels.device());
  const double c = noise_factor(scale, sigma);
  const energy::EnergyPtr part = network.given(nn::condition_rows(graph, labels, sigmas));
  if (scale.form == EnergyForm::noise) return energy::rescaled(part, c, 1 / (sigma * c));
  double elements = 1;
  for (const std::int64_t size : graph.input_shape) elements *= static_cast<double>(size);
  return energy::beside_gaussian(energy::rescaled(part, c, scale.sigma_data / sigma), c * c,
                                 elements / 2 * std::log(2 * std::numbers::pi / (c * c)));
}

}  // namespace igebm::model
