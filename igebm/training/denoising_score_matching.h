#pragma once

#include <string>

#include "igebm/training/objective.h"

namespace igebm::training {

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

/// Denoising score matching at all noise levels (Vincent 2011; Song & Ermon 2019, equations 5 and 6, with their weight
/// sigma^2) of the score -dE/dx of a scalar energy (as Reduce, Reuse, Recycle, Du et al. 2023):
///   L = mean sigma^2 |dE/dx(x + sigma n, sigma) - n / sigma|^2 = mean |G'(c (x + sigma n)) - n|^2  over elements,
/// n standard normal; sigma of each record log-uniform in (sigma_min, sigma_max), or one of `levels` in a geometric
/// progression from sigma_min to sigma_max, each equally likely.
struct DenoisingScoreMatchingOptions {
  double weight = 1;
  NoiseScale noise;
  std::int64_t levels = 0;  ///< 0: any sigma between
};

class DenoisingScoreMatching : public Objective {
 public:
  /// Throws UserError unless the graph takes noise levels.
  DenoisingScoreMatching(const DenoisingScoreMatchingOptions& options, const nn::Graph& graph);
  Loss loss(const Step& step) override;

 private:
  DenoisingScoreMatchingOptions options_;
};

}  // namespace igebm::training
