#include "igebm/model/noise.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/energy/compose.h"
#include "igebm/nn/conditions.h"

namespace igebm::model {

std::string to_json(const NoiseScale& s) {
  nlohmann::ordered_json json{{"sigma_min", s.sigma_min}, {"sigma_max", s.sigma_max}, {"sigma_data", s.sigma_data}};
  if (s.form != EnergyForm::noise) json["form"] = name_of(s.form);
  return json.dump();
}

NoiseScale noise_scale_from_json(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    NoiseScale s{json.at("sigma_min"), json.at("sigma_max"), json.at("sigma_data")};
    const std::string form = json.value("form", "noise");
    if (!value_of<EnergyForm>(form))
      throw UserError(fmt::format("a model's noise levels: form: expected one of \"{}\", got \"{}\"",
                                  fmt::join(all_names<EnergyForm>(), "\", \""), form));
    s.form = *value_of<EnergyForm>(form);
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

namespace {

/// scale_i E(factor_i x_i) + precision_i |x_i|^2 / 2 + constant_i, a row for each input.
class RowsRescaled : public energy::Energy {
 public:
  RowsRescaled(energy::EnergyPtr part, at::Tensor factor, at::Tensor scale, at::Tensor precision, at::Tensor constant)
      : part_(std::move(part)),
        factor_(std::move(factor)),
        scale_(std::move(scale)),
        precision_(std::move(precision)),
        constant_(std::move(constant)) {}

  at::Tensor energy(const at::Tensor& x) const override { return whole(part_->energy(column(factor_, x) * x), x); }
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    return column(scale_ * factor_.square(), x) * part_->hessian_product(column(factor_, x) * x, v) +
           column(precision_, x) * v;
  }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    const auto part = part_->energy_and_gradient(column(factor_, x) * x);
    return {whole(part.energy, x), column(scale_ * factor_, x) * part.gradient + column(precision_, x) * x};
  }

 private:
  static at::Tensor column(const at::Tensor& values, const at::Tensor& x) {
    std::vector<std::int64_t> size(static_cast<std::size_t>(x.dim()), 1);
    size[0] = x.size(0);
    return values.reshape(size).to(x.scalar_type());
  }
  at::Tensor whole(const at::Tensor& part, const at::Tensor& x) const {
    const at::Tensor square = x.to(at::kDouble).square().flatten(1).sum(1);
    return (scale_ * part + precision_ / 2 * square + constant_).to(x.scalar_type());
  }

  energy::EnergyPtr part_;
  at::Tensor factor_, scale_, precision_, constant_;  // (N) double
};

}  // namespace

energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            const NoiseScale& scale, const at::Tensor& sigma) {
  const energy::EnergyPtr part = network.given(nn::condition_rows(graph, labels, sigma));
  const at::Tensor c = (sigma.square() + scale.sigma_data * scale.sigma_data).rsqrt(), none = at::zeros_like(c);
  if (scale.form == EnergyForm::noise) return std::make_shared<RowsRescaled>(part, c, 1 / (sigma * c), none, none);
  double elements = 1;
  for (const std::int64_t size : graph.input_shape) elements *= static_cast<double>(size);
  return std::make_shared<RowsRescaled>(part, c, scale.sigma_data / sigma, c.square(),
                                        elements / 2 * (2 * std::numbers::pi / c.square()).log());
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
