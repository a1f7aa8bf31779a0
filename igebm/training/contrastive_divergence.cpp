#include <ATen/ATen.h>

#include <cmath>

#include "igebm/training/objective.h"

namespace igebm::training {

at::Tensor contrastive_divergence(const at::Tensor& positive, const at::Tensor& negative, double energy_l2) {
  at::Tensor loss = positive.mean() - negative.mean();
  if (energy_l2 != 0) loss = loss + energy_l2 * (positive.square().mean() + negative.square().mean());
  return loss;
}

ContrastiveDivergence::ContrastiveDivergence(const ContrastiveDivergenceOptions& options,
                                             const std::vector<std::int64_t>& shape)
    : options_(options), buffer_(options.replay, options.start, shape) {}

Loss ContrastiveDivergence::loss(const Step& step) {
  // The buffer is the host's.
  const c10::Device device = step.data.device();
  auto taken =
      buffer_.take(step.data.cpu(), step.labels.defined() ? step.labels.cpu() : step.labels, step.seed, step.step);
  sampling::Chains& chains = taken.chains;
  chains = chains.to(device);
  Loss out;

  if (options_.flow.steps > 0 && taken.fresh.any().item<bool>()) {
    const at::Tensor rows = taken.fresh.nonzero().squeeze(1).to(device);
    sampling::Chains fresh = chains.select(rows);
    const auto energy = step.frozen.given(fresh.labels);
    out.non_finite += sampling::run(sampling::Flow(options_.flow), *energy, fresh, options_.flow.steps).non_finite;
    chains.put(rows, fresh);
  }
  const auto energy = step.frozen.given(chains.labels);
  const auto info = sampling::run(sampling::Langevin(options_.langevin, step.seed), *energy, chains, options_.steps);
  out.non_finite += info.non_finite;
  buffer_.put(taken);

  // Data and samples in one batch: one pass through the network each way.
  const std::int64_t count = step.data.size(0);
  const at::Tensor labels = step.labels.defined() ? at::cat({step.labels, chains.labels}) : at::Tensor();
  // dL/dE_i = +-1 / N + 2 energy_l2 E_i / N
  const double each = options_.weight / static_cast<double>(count);
  at::Tensor coefficients = at::full({2 * count}, each, step.data.options());
  coefficients.slice(0, count).neg_();
  const at::Tensor slopes = options_.energy_l2 == 0
                                ? at::Tensor()
                                : at::full({2 * count}, 2 * options_.energy_l2 * each, step.data.options());
  const at::Tensor energies =
      step.frozen.parameter_gradient(at::cat({step.data, chains.x}), labels, coefficients, slopes, out.gradients);
  const at::Tensor positive = energies.slice(0, 0, count), negative = energies.slice(0, count);
  out.value = options_.weight * contrastive_divergence(positive, negative, options_.energy_l2);
  out.metrics = {{"energy/data", positive.mean().item<double>()},
                 {"energy/samples", negative.mean().item<double>()},
                 {"langevin/gradient_norm", info.gradient_norm},
                 {"langevin/clipped_share", info.clipped_share}};
  return out;
}

}  // namespace igebm::training
