#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "igebm/base/random.h"
#include "igebm/training/objective.h"
#include "igebm/training/transport.h"

namespace igebm::training {

namespace {

/// A number for each of the batch, to multiply pictures or points by.
at::Tensor column(const at::Tensor& each, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = like.size(0);
  return each.reshape(shape);
}

/// c(t) (x1 - x0)
at::Tensor velocity(const at::Tensor& noise, const at::Tensor& data, const at::Tensor& time, double equilibrium) {
  if (equilibrium >= 1) return data - noise;
  return column(((1 - time) / (1 - equilibrium)).clamp_max(1), data) * (data - noise);
}

}  // namespace

at::Tensor energy_matching(const std::function<at::Tensor(const at::Tensor&)>& energy, const at::Tensor& noise,
                           const at::Tensor& data, const at::Tensor& time, double equilibrium) {
  const at::Tensor t = column(time, data);
  const at::Tensor x = ((1 - t) * noise + t * data).detach().requires_grad_();
  const at::Tensor gradient =
      torch::autograd::grad({energy(x).sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  return (gradient + velocity(noise, data, time, equilibrium)).square().mean();
}

Loss EnergyMatching::loss(const Step& step) {
  const std::int64_t count = step.data.size(0);
  const auto first = static_cast<std::uint64_t>(step.step) * static_cast<std::uint64_t>(count);
  const at::Tensor data = step.data.cpu();
  at::Tensor noise = at::empty_like(data, at::MemoryFormat::Contiguous), time = at::empty({count});
  const std::int64_t elements = noise.numel() / count;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto stream = first + static_cast<std::uint64_t>(i);
    random_normal({step.seed, Purpose::flow_noise, stream, 0},
                  {noise.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
    random_uniform({step.seed, Purpose::flow_time, stream, 0}, {time.data_ptr<float>() + i, 1});
  }
  time *= options_.time_end;
  if (options_.transport) noise = noise.index_select(0, pair_by_transport(noise, data));
  noise = noise.to(step.data.device());
  time = time.to(step.data.device());
  if (step.frozen.derives_parameters() && nn::is_smooth(step.graph)) return by_difference(step, noise, time);
  const at::Tensor loss =
      energy_matching([&](const at::Tensor& x) { return nn::evaluate(step.graph, step.weights, x, step.labels); },
                      noise, step.data, time, options_.equilibrium);
  return {options_.weight * loss, {}, {{"loss/energy_matching", loss.item<double>()}}};
}

Loss EnergyMatching::by_difference(const Step& step, const at::Tensor& noise, const at::Tensor& time) const {
  const at::Tensor x = noise + column(time, noise) * (step.data - noise);
  const at::Tensor residual = step.frozen.given(step.labels)->energy_and_gradient(x).gradient +
                              velocity(noise, step.data, time, options_.equilibrium);
  const at::Tensor squares = residual.flatten(1).square();
  const at::Tensor length = matching_step / squares.mean(1).sqrt().clamp_min(1e-12);  // s of each
  const at::Tensor shift = column(length, residual) * residual;
  const at::Tensor ahead = options_.weight / static_cast<double>(residual.numel()) / length;  // 2 / (N D) / (2 s)
  Loss loss;
  const at::Tensor labels = step.labels.defined() ? at::cat({step.labels, step.labels}) : at::Tensor();
  step.frozen.parameter_gradient(at::cat({x + shift, x - shift}), labels, at::cat({ahead, -ahead}), {}, loss.gradients);
  const at::Tensor value = squares.mean();
  loss.value = options_.weight * value;
  loss.metrics = {{"loss/energy_matching", value.item<double>()}};
  return loss;
}

}  // namespace igebm::training
