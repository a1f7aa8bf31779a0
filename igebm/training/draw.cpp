#include "igebm/training/draw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/engine/autotuner.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::training {

namespace fs = std::filesystem;

Ensemble prepare(const std::vector<Model>& models, const Recipe& recipe, const fs::path& run) {
  const Model& newest = models.back();
  Ensemble ensemble{newest.graph, {}};
  engine::Options options = engine_options(recipe, run);
  options.autotuner = std::make_shared<engine::Autotuner>();  // measured once, for all of them
  for (const Model& model : models) {
    nn::Network network(model.graph, 0);
    for (auto& [name, t] : network.buffers()) t.copy_(model.buffers.at(name));
    ensemble.models.push_back(engine::prepare(model.graph, network.effective_weights(model.parameters), options));
  }
  const auto conditions = newest.metadata.find("conditions");
  if (conditions != newest.metadata.end()) ensemble.conditions = conditions_from_json(conditions->second);
  const auto noise = newest.metadata.find("noise");
  if (noise != newest.metadata.end()) ensemble.noise = noise_scale_from_json(noise->second);
  return ensemble;
}

energy::EnergyPtr Ensemble::energy(const at::Tensor& labels, std::int64_t count) const {
  if (graph.noise_features == 0) return models.back()->given(labels);
  return energy_at(graph, *models.back(), labels, count, noise, noise.sigma_min);
}

engine::Options engine_options(const Recipe& recipe, const fs::path& run) {
  fs::path kept = run / "engine.json";
  if (run.empty() || !fs::exists(kept)) kept = recipe.choices;
  return {.engine = recipe.engine,
          .choices = kept.empty() ? "" : io::read_file(kept),
          .device = find_device(recipe.device),
          .precision = recipe.precision};
}

sampling::Chains draw(const Recipe& recipe, const Ensemble& ensemble, std::int64_t count, std::int64_t first_stream,
                      const at::Tensor& labels, std::uint64_t seed, at::Tensor* energies,
                      const sampling::OnStep& on_step, std::int64_t batch) {
  const nn::Graph& graph = ensemble.graph;
  if (graph.outputs > 0) throw UserError("this model is a classifier, which draws no samples");
  const at::NoGradGuard no_grad;
  const c10::Device device = find_device(recipe.device);
  const at::Tensor all_labels = labels.defined() ? labels : usual_labels(graph, ensemble.conditions, count);
  std::vector<sampling::Chains> parts;
  std::vector<at::Tensor> energy_parts;
  for (std::int64_t begin = 0; begin < count; begin += batch) {
    const std::int64_t end = std::min(count, begin + batch);
    const at::Tensor part_labels = all_labels.defined() ? all_labels.slice(0, begin, end).contiguous() : at::Tensor();
    const bool annealed = graph.noise_features > 0;
    auto chains = sampling::start_chains(annealed ? sampling::StartOptions{"normal"} : recipe.sampling.start,
                                         graph.input_shape, end - begin, first_stream + begin, part_labels, seed)
                      .to(device);
    if (annealed) {
      chains.x.mul_(ensemble.noise.sigma_max);
      const auto at_level = [&](double sigma) {
        std::vector<energy::EnergyPtr> energies_there;
        for (const auto& model : ensemble.models)
          energies_there.push_back(energy_at(graph, *model, chains.labels, chains.size(), ensemble.noise, sigma));
        return energies_there;
      };
      sampling::sample_annealed(recipe.sampling, ensemble.noise.sigma_min, ensemble.noise.sigma_max, at_level, chains,
                                seed, on_step);
    } else {
      std::vector<energy::EnergyPtr> given;
      for (const auto& model : ensemble.models) given.push_back(model->given(chains.labels));
      sampling::sample(recipe.sampling, given, chains, seed, on_step);
    }
    if (chains.x.dim() == 4) chains.x.clamp_(recipe.data.low, recipe.data.high);
    if (energies != nullptr)
      energy_parts.push_back(ensemble.energy(chains.labels, chains.size())->energy(chains.x).cpu());
    parts.push_back(chains.to(c10::kCPU));
  }
  if (energies != nullptr) *energies = at::cat(energy_parts);
  return sampling::Chains::join(parts);
}

at::Tensor energies_in_plane(const Ensemble& ensemble, double bound, c10::Device device) {
  constexpr std::int64_t side = 400;
  const at::Tensor axis = at::linspace(-bound, bound, side);
  const at::Tensor points = at::stack({axis.repeat({side}), axis.flip(0).repeat_interleave(side)}, 1);
  const at::Tensor labels = zero_labels(ensemble.graph, points.size(0));
  const auto energy = ensemble.energy(labels.defined() ? labels.to(device) : labels, points.size(0));
  return energy->energy(points.to(device)).reshape({side, side}).cpu();
}

void write_picture(const fs::path& path, const Recipe& recipe, const Ensemble& ensemble, std::int64_t count,
                   std::int64_t first_stream, double extent) {
  const at::NoGradGuard no_grad;
  const sampling::Chains chains =
      draw(recipe, ensemble, count, first_stream, {}, static_cast<std::uint64_t>(recipe.seed), nullptr);
  if (chains.x.dim() == 4) {
    io::write_png(path, io::grid(to_unit(chains.x, recipe.data)));
  } else {
    const double bound = std::max(1.0, std::ceil(extent * 1.1));
    io::write_png(path, io::density(energies_in_plane(ensemble, bound, find_device(recipe.device)), chains.x, bound));
  }
}

at::Tensor to_unit(const at::Tensor& x, const data::Options& o) {
  return x.sub(o.low).div_(o.high - o.low).clamp_(0, 1);
}

}  // namespace igebm::training
