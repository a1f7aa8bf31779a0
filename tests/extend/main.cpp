// Trains, samples and evaluates by nothing but parts of its own: extend FOLDER
#include <ATen/ATen.h>
#include <igebm/base/error.h>
#include <igebm/io/files.h>
#include <igebm/model/model.h>
#include <igebm/training/trainer.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "parts.h"

int main(int argc, char** argv) {
  using namespace igebm;
  if (argc != 2) return std::fputs("expected FOLDER\n", stderr), 2;
  add_data_set(), add_kernel(), add_metric(), add_objective();
  const std::filesystem::path folder = argv[1];
  io::write_atomically(folder / "recipe.toml", R"(
[run]
threads = 1
[data]
name = "line"
[network]
kind = "mlp"
widths = [32, 32]
[train]
samples_every = 0
[phase.train]
steps = 600
batch = 64
[phase.train.optimizer]
learning_rate = 1e-2
schedule = "cosine"
[phase.train.bowl]
height = 0.5
[sampling]
kernel = "descent"
start = "normal"
steps = 50
step_size = 0.2
noise = 0.0
[evaluate]
every = 300
metric = "means"
count = 100
)");
  Observer silent;
  try {
    training::Trainer::begin(training::read_recipe(folder / "recipe.toml", {}), folder / "run", silent).train({});
    const at::Tensor x = model::Model::open(folder / "run").sample({.count = 100}).x;
    const double off = (x - at::tensor({0.0F, 1.0F})).norm(2, 1).mean().item<double>();
    const std::string metrics = io::read_file(folder / "run" / "metrics.jsonl");
    std::printf("samples lie %.3f from the bowl's bottom\n", off);
    return off < 0.2 && metrics.find("quality/means") != std::string::npos ? 0 : 1;
  } catch (const UserError& e) {
    return std::fprintf(stderr, "extend: %s\n", e.what()), 2;
  }
}
