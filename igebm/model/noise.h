#pragma once

#include <array>
#include <string>

#include "igebm/base/enums.h"
#include "igebm/engine/engine.h"

namespace igebm::model {

/// How an energy E(y, sigma) is made of its network G, with c = 1 / sqrt(sigma^2 + s^2), s = sigma_data and d elements
/// of y. G sees input of unit size, and G' is to have unit size.
enum class EnergyForm {
  /// E = G(c y, sigma) / (sigma c), so that dE/dy = G'(c y) / sigma and G' is the noise of y.
  noise,
  /// E = |c y|^2 / 2 + d/2 ln 2 pi (sigma^2 + s^2) + s / sigma G(c y, sigma): the exact energy of N(0, (sigma^2 + s^2)
  /// I)
  /// and what the data's differs from it by. y - sigma^2 dE/dy = s^2 c^2 y - sigma s c G'(c y) is EDM's denoiser
  /// (Karras et al. 2022, table 1): with much noise the data are said by G', with little the noise is.
  preconditioned,
};
inline constexpr std::array energy_form_names = {"noise", "preconditioned"};
constexpr const auto& names_of(EnergyForm) { return energy_form_names; }

/// The noise levels that an energy E(x, sigma) is trained at, and how it is made of its network.
struct NoiseScale {
  double sigma_min = 0.01, sigma_max = 50;
  double sigma_data = 0.5;  ///< root mean square of the data's elements, about
  EnergyForm form = EnergyForm::noise;
};

/// As kept in the metadata of a network's file; a scale that names no form has `noise`, which was the only one once.
/// from_json throws UserError.
std::string to_json(const NoiseScale& scale);
NoiseScale noise_scale_from_json(const std::string& text);

/// c
double noise_factor(const NoiseScale& scale, double sigma);

/// The standard deviation that chains of annealed sampling start with, from a mean of 0.
double start_deviation(const NoiseScale& scale);

/// E(x, sigma) of a prepared network that takes noise levels. labels (N, ...) of what else it takes, or undefined;
/// count: N.
energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            std::int64_t count, const NoiseScale& scale, double sigma);
/// The same of inputs that are each at a noise level of their own, sigma (N) double.
energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            const NoiseScale& scale, const at::Tensor& sigma);

}  // namespace igebm::model
