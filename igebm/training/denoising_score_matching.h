#pragma once

#include <string>

#include "igebm/model/noise.h"
#include "igebm/training/objective.h"

namespace igebm::training {

/// Denoising score matching at all noise levels (Vincent 2011; Song & Ermon 2019, equations 5 and 6, with their weight
/// sigma^2) of the score -dE/dx of a scalar energy (as Reduce, Reuse, Recycle, Du et al. 2023):
///   L = mean sigma^2 |dE/dx(x + sigma n, sigma) - n / sigma|^2 = mean |G'(c (x + sigma n)) - n|^2  over elements,
/// n standard normal; sigma of each record log-uniform in (sigma_min, sigma_max), or one of `levels` in a geometric
/// progression from sigma_min to sigma_max, each equally likely.
struct DenoisingScoreMatchingOptions {
  double weight = 1;
  model::NoiseScale noise;
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
