#include "igebm/training/contrastive_divergence.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "igebm/engine/graphs.h"
#include "igebm/io/ranges.h"
#include "igebm/sampling/describe.h"

namespace igebm::training {

using io::Fields;
using namespace io::ranges;  // NOLINT(google-build-using-namespace)
namespace {

/// The first `count` of a run of `total` steps, in parts where the training step may be stopped between them.
sampling::StepInfo move(const Step& step, const sampling::Kernel& kernel, const energy::Energy& energy,
                        sampling::Chains& chains, std::int64_t count, std::int64_t total) {
  const std::int64_t part = step.stop && chains.x.is_cpu() ? 8 : std::max<std::int64_t>(count, 1);
  sampling::StepInfo info;
  std::int64_t non_finite = 0;
  for (std::int64_t k = 0; k < count; k += part) {
    step.check();
    info = kernel.transitions(energy, chains, {k, total}, std::min(part, count - k));
    non_finite += info.non_finite;
  }
  info.non_finite = non_finite;
  return info;
}

/// Of the network as parameter_gradient takes it: with dropout, where it has that, by the same masks.
at::Tensor training_energies(const Step& step, const at::Tensor& x, const at::Tensor& labels,
                             const nn::Dropout& dropout) {
  if (!engine::has_dropout(step.graph)) return step.frozen.given(labels)->energy(x).to(x.scalar_type());
  const at::NoGradGuard no_grad;
  return nn::evaluate(step.graph, step.weights, x, labels, &dropout);
}

at::Tensor with_noise(const Step& step, double deviation, double low, double high) {
  if (deviation == 0) return step.data;
  return at::clamp(at::add(step.data, step.normals(Purpose::data_noise).to(step.data.device()), deviation), low, high);
}

}  // namespace

void describe(Fields& f, ContrastiveDivergenceOptions& o) {
  f.field("weight", o.weight, positive, "of this term in the loss");
  f.field("form", o.form, "of the contrast between data and samples");
  f.field("energy_l2", o.energy_l2, not_negative, "coefficient of E(x+)^2 + E(x-)^2");
  f.field("data_noise", o.data_noise, not_negative, "standard deviation of noise on the data, which samples have too");
  f.field("kl", o.end.kl, not_negative, "weight of the energy at the chains' ends, through their last step; 0: none");
  f.field("entropy", o.end.entropy, not_negative, "weight of log the distance from there to earlier samples; 0: none");
  f.field("entropy_pool", o.end.pool, count_from_one, "earlier samples, from the buffer, that the nearest is among");
  f.field("steps", o.steps, count_from_one, "Langevin steps a training step");
  f.field("buffer", o.replay.size, count_from_one, "chains in the replay buffer");
  f.field("restart_share", o.replay.restart_share, share, "of chains that start anew");
  f.field("data_share", o.replay.data_share, share, "of chains that start from data");
  f.field("compact", o.replay.compact, "keep the buffer as 8-bit numbers over [low, high]");
  describe(f, o.start);
  describe(f, o.flow);
  describe(f, o.langevin);
  f.section("augment", [&](Fields& g) {
    describe(g, o.replay.augment);
    if (o.replay.augment.share > 0 && !(std::isfinite(o.langevin.low) && std::isfinite(o.langevin.high)))
      g.problem("share", "contrastive_divergence's low and high, black and white to it, must be given");
  });
  if (o.replay.restart_share + o.replay.data_share > 1)
    f.problem("restart_share", "restart_share and data_share together exceed 1");
  if (o.langevin.low >= o.langevin.high) f.problem("low", "low must be below high");
  if (o.replay.compact && !(std::isfinite(o.langevin.low) && std::isfinite(o.langevin.high)))
    f.problem("compact", "low and high, which 8-bit numbers are to span, must be given");
}

at::Tensor contrastive_divergence(ContrastForm form, const at::Tensor& positive, const at::Tensor& negative,
                                  double energy_l2) {
  at::Tensor loss;
  switch (form) {
    case ContrastForm::linear:
      loss = positive.mean() - negative.mean();
      break;
    case ContrastForm::logsumexp:
      loss = positive.mean() - at::dot(at::softmax(-negative.detach(), 0), negative);
      break;
    case ContrastForm::softplus:
      loss = at::softplus(positive - negative).mean();
      break;
  }
  if (energy_l2 != 0) loss = loss + energy_l2 * (positive.square().mean() + negative.square().mean());
  return loss;
}

at::Tensor contrast_slopes(ContrastForm form, const at::Tensor& energies) {
  const std::int64_t count = energies.size(0) / 2;
  const at::Tensor positive = energies.slice(0, 0, count), negative = energies.slice(0, count);
  const at::Tensor each = at::full({count}, 1.0 / static_cast<double>(count), energies.options());
  if (form == ContrastForm::linear) return at::cat({each, -each});
  if (form == ContrastForm::logsumexp) return at::cat({each, -at::softmax(-negative, 0)});
  const at::Tensor pair = each * at::sigmoid(positive - negative);
  return at::cat({pair, -pair});
}

ContrastiveDivergence::ContrastiveDivergence(const ContrastiveDivergenceOptions& options, const nn::Graph& graph)
    : options_(options),
      buffer_(options.replay, options.start, graph.input_shape, graph.some_labels(1), options.langevin.low,
              options.langevin.high) {}

Loss ContrastiveDivergence::loss(const Step& step) {
  // The buffer is the host's.
  const c10::Device device = step.data.device();
  auto taken = buffer_.take(step.data.cpu(), step.labels.defined() ? step.labels.cpu() : step.labels, step.seed,
                            step.step, step.first_chain);
  sampling::Chains& chains = taken.chains;
  chains = chains.to(device);
  Loss out;

  if (options_.flow.steps > 0 && taken.fresh.any().item<bool>()) {
    const at::Tensor rows = taken.fresh.nonzero().squeeze(1).to(device);
    sampling::Chains fresh = chains.select(rows);
    const auto energy = step.frozen.given(fresh.labels);
    out.non_finite +=
        move(step, sampling::Flow(options_.flow), *energy, fresh, options_.flow.steps, options_.flow.steps).non_finite;
    chains.put(rows, fresh);
  }
  const auto energy = step.frozen.given(chains.labels);
  const sampling::Langevin langevin(options_.langevin, step.seed);
  const bool by_end = options_.end.kl > 0 || options_.end.entropy > 0;
  sampling::StepInfo info;
  at::Tensor before, pool;
  if (by_end) {
    const sampling::Position last{options_.steps - 1, options_.steps};
    out.non_finite += move(step, langevin, *energy, chains, last.step, options_.steps).non_finite;
    before = langevin.gradient_point(chains, last);
    info = langevin.transition(*energy, chains, last);
    pool = buffer_.others(taken, options_.end.pool, step.seed, step.step).to(device);
  } else {
    info = move(step, langevin, *energy, chains, options_.steps, options_.steps);
  }
  out.non_finite += info.non_finite;
  buffer_.put(taken);

  // Data and samples in one batch: one pass through the network each way, and one more forward where the slopes depend
  // on the energies.
  const std::int64_t count = step.data.size(0);
  const at::Tensor labels = step.labels.defined() ? at::cat({step.labels, chains.labels}) : at::Tensor();
  const at::Tensor data = with_noise(step, options_.data_noise, options_.langevin.low, options_.langevin.high);
  const at::Tensor x = at::cat({data, chains.x});
  const nn::Dropout dropout{step.seed, step.step};
  at::Tensor energies = options_.form == ContrastForm::linear ? at::empty({2 * count}, step.data.options())
                                                              : training_energies(step, x, labels, dropout);
  const at::Tensor coefficients = options_.weight * contrast_slopes(options_.form, energies);
  // Those of energy_l2: 2 energy_l2 E / N
  const double twice = 2 * options_.energy_l2 * options_.weight / static_cast<double>(count);
  const at::Tensor by_energy = twice == 0 ? at::Tensor() : at::full({2 * count}, twice, step.data.options());
  energies = step.frozen.parameter_gradient(x, labels, coefficients, by_energy, out.gradients, &dropout);
  const at::Tensor positive = energies.slice(0, 0, count), negative = energies.slice(0, count);
  out.value = options_.weight * contrastive_divergence(options_.form, positive, negative, options_.energy_l2);
  out.metrics = {{"energy/data", positive.mean().item<double>()},
                 {"energy/samples", negative.mean().item<double>()},
                 {"langevin/gradient_norm", info.gradient_norm},
                 {"langevin/clipped_share", info.clipped_share}};
  if (by_end && out.non_finite == 0) {
    const ChainEnd end = chain_end(step, options_.end, options_.langevin, options_.weight, before, chains.x,
                                   chains.labels, pool, out.gradients);
    out.value += options_.weight * end.value;
    out.metrics.emplace_back("chain_end/loss", end.value);
    if (options_.end.entropy > 0) out.metrics.emplace_back("chain_end/neighbour_distance", end.distance);
  }
  return out;
}

}  // namespace igebm::training
