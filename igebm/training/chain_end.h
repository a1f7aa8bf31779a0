#pragma once

#include "igebm/sampling/langevin.h"
#include "igebm/training/objective.h"

namespace igebm::training {

/// Improved contrastive divergence (Du, Li, Tenenbaum & Mordatch 2021, section 3): the term that contrastive divergence
/// leaves out, of the sampler's dependence on the parameters, through the last Langevin step:
///   L_KL = kl mean[E'(x_K)] - entropy mean[log min_j |x_K - p_j|],
///   x_K = clamp(x_{K-1} - step_size clip(dE/dx(x_{K-1})) + noise),
/// E' the same energy with its weights held constant and p_j earlier samples: the first part makes the sampler's end
/// likely, the second, an estimate of its entropy by nearest neighbours (Kozachenko & Leonenko), keeps ends apart.
/// The released code (yilundu/improved_contrastive_divergence) has kl = 1, entropy = 0.3 and 100 earlier samples.
struct ChainEndOptions {
  double kl = 0;            ///< weight of E'(x_K); 0: none
  double entropy = 0;       ///< weight of the entropy; 0: none
  std::int64_t pool = 100;  ///< earlier samples that neighbours are looked for among
};

struct ChainEnd {
  double value = 0;     ///< L_KL
  double distance = 0;  ///< mean to the nearest neighbour; 0 without a pool
};

/// L_KL times `weight`, its gradient added to `into`. before (N, ...): where the last step took its gradient
/// (Langevin::gradient_point); x (N, ...): where it led; pool (P, ...), undefined or without rows: no entropy.
///
/// With v = kl dE/dx(x_K) - entropy (x_K - p) / |x_K - p|^2, 0 where an element was clipped or clamped, the gradient is
/// that of -step_size mean_i <v_i, dE/dx(x_{K-1, i})>, v held (training/slope.h).
ChainEnd chain_end(const Step& step, const ChainEndOptions& options, const sampling::LangevinOptions& langevin,
                   double weight, const at::Tensor& before, const at::Tensor& x, const at::Tensor& labels,
                   const at::Tensor& pool, nn::Tensors& into);

}  // namespace igebm::training
