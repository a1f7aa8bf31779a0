#include "igebm/training/chain_end.h"

#include <ATen/ATen.h>

#include "igebm/training/slope.h"

namespace igebm::training {

ChainEnd chain_end(const Step& step, const ChainEndOptions& options, const sampling::LangevinOptions& langevin,
                   double weight, const at::Tensor& before, const at::Tensor& x, const at::Tensor& labels,
                   const at::Tensor& pool, nn::Tensors& into) {
  const std::int64_t count = x.size(0);
  ChainEnd end;
  at::Tensor v = at::zeros_like(x);
  if (options.kl > 0) {
    const auto [energy, gradient] = step.frozen.given(labels)->energy_and_gradient(x);
    end.value += options.kl * energy.mean().item<double>();
    v.add_(gradient, options.kl);
  }
  if (options.entropy > 0 && pool.defined() && pool.size(0) > 0) {
    // Mode 2: differences. The expansion by inner products loses what tells near duplicates apart.
    const at::Tensor nearest = at::cdist(x.flatten(1), pool.flatten(1), 2, /*compute_mode=*/2).argmin(1);
    const at::Tensor away = x - pool.index_select(0, nearest);
    const at::Tensor distance = away.flatten(1).norm(2, 1).clamp_min(1e-6);
    end.value -= options.entropy * distance.log().mean().item<double>();
    end.distance = distance.mean().item<double>();
    v.sub_(away / column(distance.square(), away), options.entropy);
  }
  const Slope slope(step, before, labels, Slope::Of::sampling);
  v.masked_fill_(slope.gradient().abs().gt(langevin.gradient_clip), 0);
  v.masked_fill_(x.le(langevin.low).logical_or_(x.ge(langevin.high)), 0);
  slope.pull(v, at::full({count}, -weight * langevin.step_size / static_cast<double>(count), x.options()), into);
  return end;
}

}  // namespace igebm::training
