#pragma once

#include <array>

#include "igebm/base/enums.h"
#include "igebm/classification/logits.h"

/// Pictures that take some Langevin steps on an energy before their classes are told (Du & Mordatch 2019).
namespace igebm::classification {

/// How an attack takes derivatives of that.
enum class Through {
  identity,  ///< as if the steps left pictures as they are (BPDA, Athalye et al. 2018)
  steps,     ///< exactly, by Hessian-vector products
};
inline constexpr std::array through_names = {"identity", "steps"};
constexpr const auto& names_of(Through) { return through_names; }

struct RefineOptions {
  std::int64_t steps = 0;   ///< K; 0: none
  double box = 8.0 / 255;   ///< of each pixel round the picture as it came; and within [0, 1]
  double step_size = 0;     ///< x - step_size / 2 dE/dx + noise; of pixels in [0, 1]
  double noise = 0.005;     ///< standard deviation, each step
  std::int64_t chains = 1;  ///< noises over which logits are averaged, and an attack's gradients (EOT)
  Through through = Through::identity;
  std::uint64_t seed = 0;
};

/// Throws UserError.
void check(const RefineOptions& options);

/// The noise is new at each call, so that no attack can know it beforehand. For one thread.
class Refined : public Logits {
 public:
  /// energy: of pictures in [0, 1], such as of_unit gives, float on `device`. `inner` is to outlive this.
  Refined(const Logits& inner, energy::EnergyPtr energy, c10::Device device, const RefineOptions& options);

  at::Tensor of(const at::Tensor& x) const override;  ///< the mean over `chains`
  /// logits as `of` has them; the gradient is the mean of that of each chain's cross entropy.
  Pulled pull(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& asked = {}) const override;

  /// x after K steps, with noise of number `draw`.
  at::Tensor refine(const at::Tensor& x, std::uint64_t draw) const;

 private:
  /// For derivatives: where a chain has been before each step; which pixels the step left at an edge (bool), and which
  /// of these at one that is the box's, not that of [0, 1].
  struct Path {
    std::vector<at::Tensor> before, held, at_box;
  };
  at::Tensor walk(const at::Tensor& x, std::uint64_t draw, Path* path) const;
  at::Tensor back(at::Tensor gradient, const Path& path) const;

  const Logits& inner_;
  energy::EnergyPtr energy_;
  c10::Device device_;
  RefineOptions options_;
  mutable std::uint64_t draws_ = 0;
};

}  // namespace igebm::classification
