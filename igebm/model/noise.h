#pragma once

#include <string>

#include "igebm/engine/engine.h"

namespace igebm::model {

/// The noise levels that an energy E(x, sigma) is trained at, and how it is made of its network G:
///   E(x, sigma) = G(c x, features of sigma) / (sigma c),  c = 1 / sqrt(sigma^2 + sigma_data^2),
/// so that G sees input of unit size and dE/dx = G'(c x) / sigma with G' of unit size.
struct NoiseScale {
  double sigma_min = 0.01, sigma_max = 50;
  double sigma_data = 0.5;  ///< standard deviation of the data's elements, about
};

/// As kept in the metadata of a network's file. from_json throws UserError.
std::string to_json(const NoiseScale& scale);
NoiseScale noise_scale_from_json(const std::string& text);

/// c
double noise_factor(const NoiseScale& scale, double sigma);

/// E(x, sigma) of a prepared network that takes noise levels. labels (N, ...) of what else it takes, or undefined;
/// count: N.
energy::EnergyPtr energy_at(const nn::Graph& graph, engine::Prepared& network, const at::Tensor& labels,
                            std::int64_t count, const NoiseScale& scale, double sigma);

}  // namespace igebm::model
