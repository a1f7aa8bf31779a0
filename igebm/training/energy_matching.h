#pragma once

#include "igebm/training/objective.h"

namespace igebm::training {

/// Energy matching's first phase (Balcerak et al. 2025):
///   L = mean |-dE/dx((1 - t) x0 + t x1) - c(t) (x1 - x0)|^2 over elements, c = 1,
/// x1 data, x0 standard normal noise paired to the data by minibatch optimal transport, t uniform in (0, time_end).
/// At t = 1 it asks for a slope through the data, at odds with an equilibrium there: beside contrastive divergence,
/// which shapes the energy around the data, stop before (the paper's second phase). Or let it vanish there, as
/// equilibrium matching does (Wang & Du 2025, truncated decay): c(t) = min(1, (1 - t) / (1 - equilibrium)) makes the
/// data minima of E, where descent and Langevin dynamics may stay as long as they like.
struct EnergyMatchingOptions {
  static constexpr const char* section = "energy_matching";
  static constexpr Network trains = Network::energy;

  double weight = 1;
  double time_end = 1;     ///< in (0, 1]
  double equilibrium = 1;  ///< in [0, 1], where c begins to fall; 1: never
  bool transport = true;   ///< pair noise with data of equal labels by optimal transport, else at random
};

void describe(io::Fields& fields, EnergyMatchingOptions& options);

class EnergyMatching : public Objective {
 public:
  explicit EnergyMatching(const EnergyMatchingOptions& options) : options_(options) {}
  Loss loss(const Step& step) override;

 private:
  EnergyMatchingOptions options_;
};

}  // namespace igebm::training
