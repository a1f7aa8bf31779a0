// For pytorch_test.py: checkpoints of networks of every kind, and energies that they give, in x.npz beside them.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/npz.h"
#include "igebm/nn/architectures.h"
#include "igebm/nn/conditions.h"
#include "igebm/training/checkpoint.h"

namespace {

using namespace igebm;

std::map<std::string, nn::Graph> networks() {
  const std::vector<std::int64_t> picture = {2, 8, 12};
  return {
      {"residual-attention-dropout-classes",
       nn::residual({.stem = 8, .blocks = "16d 8", .attention = true, .dropout = 0.5}, picture, {.classes = 3})},
      {"residual-conditions", nn::residual({.stem = 8, .blocks = "8 8d"}, picture, {.conditions = 3})},
      {"strided-planes-classes", nn::strided({.stem = 8, .channels = {8, 6}, .dense = 8}, picture, {.classes = 4})},
      {"strided-planes-conditions",
       nn::strided({.stem = 8, .channels = {8, 8, 8, 8}, .dense = 8}, picture, {.conditions = 2})},
      {"strided-biases",
       nn::strided({.stem = 8, .channels = {8}, .activation = nn::Activation::silu, .label_planes = false}, picture,
                   {.classes = 3})},
      {"unet-attention-classes-noise",
       nn::unet({.channels = {4, 8, 8}, .blocks = {1, 2, 2}, .patch = 1, .groups = 2, .attention = true}, picture,
                {.classes = 3, .noise_features = 8})},
      {"unet-dropout", nn::unet({.channels = {8}, .blocks = {1}, .patch = 4, .dropout = 0.2}, picture)},
      {"mlp-conditions-noise", nn::mlp({{16, 8}}, {2}, {.conditions = 2, .noise_features = 2})},
      {"mlp-number-features", nn::mlp({{16, 8}}, {2}, {.conditions = 3, .noise_features = 2, .number_features = 10})},
      {"mlp-noise", nn::mlp({{16, 8}}, {2}, {.noise_features = 6})},
  };
}

void write(const std::filesystem::path& folder, const nn::Graph& graph) {
  const at::NoGradGuard no_grad;
  nn::Network network(graph, 1);
  for (auto& [_, p] : network.parameters()) p.add_(at::randn_like(p), 0.2);  // zeros would hide a layer
  network.advance_spectral_norm();
  const std::int64_t count = 5;
  std::vector<std::int64_t> size = {count};
  size.insert(size.end(), graph.input_shape.begin(), graph.input_shape.end());
  std::map<std::string, at::Tensor> arrays;
  const at::Tensor x = arrays["x"] = at::randn(size);
  const auto [classes, numbers, noise, optional, features] = nn::conditioning(graph);
  at::Tensor labels;
  if (classes > 0) labels = at::arange(count, at::kLong).remainder(classes);
  if (numbers > 0) labels = at::randn({count, numbers});
  if (noise > 0) {
    arrays["sigma"] = at::logspace(-2, 1, count);
    labels = nn::condition_rows(graph, labels, arrays["sigma"]);
  }
  if (labels.defined()) arrays["labels"] = labels;
  arrays["energies"] = nn::evaluate(graph, network.effective_weights(), x, labels);
  training::Checkpoint checkpoint;
  checkpoint.network = {graph, network.parameters(), network.buffers(), {}};
  training::save_checkpoint(folder, checkpoint, 0);
  io::write_npz(folder / "x.npz", arrays);
}

}  // namespace

int main(int, char** arguments) {
  at::manual_seed(1);
  try {
    for (const auto& [name, graph] : networks()) write(std::filesystem::path(arguments[1]) / name, graph);
  } catch (const UserError& e) {
    std::fprintf(stderr, "write_networks: %s\n", e.what());
    return 1;
  }
  return 0;
}
