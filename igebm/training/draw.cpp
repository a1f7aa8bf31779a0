#include "igebm/training/draw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::training {

namespace fs = std::filesystem;

std::shared_ptr<engine::Prepared> prepare(const Model& model, const Recipe& recipe, const fs::path& run) {
  nn::Network network(model.graph, 0);
  for (auto& [name, t] : network.buffers()) t.copy_(model.buffers.at(name));
  return engine::prepare(model.graph, network.effective_weights(model.parameters), engine_options(recipe, run));
}

engine::Options engine_options(const Recipe& recipe, const fs::path& run) {
  fs::path kept = run / "engine.json";
  if (!fs::exists(kept)) kept = recipe.choices;
  return {.engine = recipe.engine,
          .choices = kept.empty() ? "" : io::read_file(kept),
          .device = find_device(recipe.device),
          .precision = recipe.precision};
}

sampling::Chains draw(const Recipe& recipe, const nn::Graph& graph, const Models& models, std::int64_t count,
                      std::int64_t first_stream, const at::Tensor& labels, std::uint64_t seed, at::Tensor* energies,
                      const sampling::OnStep& on_step, std::int64_t batch) {
  if (graph.outputs > 0) throw UserError("this model is a classifier, which draws no samples");
  const at::NoGradGuard no_grad;
  const c10::Device device = find_device(recipe.device);
  at::Tensor all_labels = labels;
  if (graph.classes > 0 && !labels.defined()) all_labels = at::arange(count, at::kLong).remainder(graph.classes);
  std::vector<sampling::Chains> parts;
  std::vector<at::Tensor> energy_parts;
  for (std::int64_t begin = 0; begin < count; begin += batch) {
    const std::int64_t end = std::min(count, begin + batch);
    const at::Tensor part_labels = all_labels.defined() ? all_labels.slice(0, begin, end).contiguous() : at::Tensor();
    auto chains = sampling::start_chains(recipe.sampling.start, graph.input_shape, end - begin, first_stream + begin,
                                         part_labels, seed)
                      .to(device);
    std::vector<energy::EnergyPtr> energy;
    for (const auto& model : models) energy.push_back(model->given(graph.classes > 0 ? chains.labels : at::Tensor()));
    sampling::sample(recipe.sampling, energy, chains, seed, on_step);
    if (chains.x.dim() == 4) chains.x.clamp_(recipe.data.low, recipe.data.high);
    if (energies != nullptr) energy_parts.push_back(energy.back()->energy(chains.x).cpu());
    parts.push_back(chains.to(c10::kCPU));
  }
  if (energies != nullptr) *energies = at::cat(energy_parts);
  return sampling::Chains::join(parts);
}

void write_picture(const fs::path& path, const Recipe& recipe, const nn::Graph& graph, const Models& models,
                   std::int64_t count, std::int64_t first_stream, double extent) {
  const at::NoGradGuard no_grad;
  const sampling::Chains chains =
      draw(recipe, graph, models, count, first_stream, {}, static_cast<std::uint64_t>(recipe.seed), nullptr);
  if (chains.x.dim() == 4) {
    io::write_png(path, io::grid(to_unit(chains.x, recipe.data)));
  } else if (chains.x.dim() == 2 && chains.x.size(1) == 2) {
    const double bound = std::max(1.0, std::ceil(extent * 1.1));
    const std::int64_t side = 400;
    const at::Tensor axis = at::linspace(-bound, bound, side);
    const at::Tensor points = at::stack({axis.repeat({side}), axis.flip(0).repeat_interleave(side)}, 1);
    const c10::Device device = find_device(recipe.device);
    const at::Tensor labels = graph.some_labels(points.size(0));
    const auto energy = models.back()->given(labels.defined() ? labels.to(device) : labels);
    io::write_png(path, io::density(energy->energy(points.to(device)).reshape({side, side}).cpu(), chains.x, bound));
  }
}

at::Tensor to_unit(const at::Tensor& x, const data::Options& o) {
  return x.sub(o.low).div_(o.high - o.low).clamp_(0, 1);
}

}  // namespace igebm::training
