#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/model/files.h"
#include "igebm/model/shipped.h"
#include "igebm/training/recipe.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

struct ExportArguments {
  std::string run, folder, weights = "average";
  bool best = false, replace = false, half = false;
};

/// A run's recipe without what is of the machine it was trained on.
std::string recipe_of(const std::filesystem::path& run) {
  training::Recipe recipe = training::read_recipe((run / "recipe.toml").string(), {});
  const training::Recipe usual;
  recipe.threads = usual.threads, recipe.device = usual.device, recipe.choices = usual.choices;
  recipe.data.path = usual.data.path, recipe.evaluate.features = usual.evaluate.features;
  return io::write_recipe([&](io::Fields& f) { describe(f, recipe); });
}

void export_run(const ExportArguments& a) {
  const std::filesystem::path what = model::find_model(a.run), run = model::run_of(what), folder = a.folder;
  model::check_weights(what, weights_of(a.weights));
  const auto file = model::load_network(a.best ? model::find_best(run) : what, weights_of(a.weights));
  const std::string recipe = recipe_of(run);
  const std::filesystem::path weights = folder / "network.safetensors";
  if (!a.replace && std::filesystem::exists(weights))
    throw UserError(fmt::format("export: {}: there is a model already; --replace writes its weights anew", a.folder));
  io::make_folder(folder);
  nn::Tensors parameters = file.parameters;
  if (a.half) {
    for (auto& [name, t] : parameters) {
      t = t.to(at::kHalf);
      if (!t.isfinite().all().item<bool>())
        throw UserError(fmt::format("export: --half: {} has numbers beyond 16 bits' 65504", name));
    }
  }
  model::write_network_file(weights, file, parameters);
  // Sampling may have been tuned there since.
  if (!std::filesystem::exists(folder / "recipe.toml")) io::write_atomically(folder / "recipe.toml", recipe);
  fmt::print("{}: {:.1f} MB of weights; use it as a run: igebm sample {}\n", a.folder,
             static_cast<double>(std::filesystem::file_size(weights)) * 1e-6, io::in_shell(a.folder));
}

}  // namespace

void add_export(CLI::App& app) {
  auto* command = app.add_subcommand("export", "keep a run's weights and recipe as a small model, to use and to share");
  auto a = std::make_shared<ExportArguments>();
  command->add_option("RUN", a->run, "a run's folder, or one of its checkpoints")->required();
  command->add_option("FOLDER", a->folder, "where to; a folder in models/ or $IGEBM_MODELS gives the model a name")
      ->required();
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  command->add_flag("--half", a->half, "weights in 16 bits, half the size: rounded to about 0.05 %");
  command->add_flag("--replace", a->replace, "write over weights that are there; a recipe that is there stays");
  command->callback([a] { export_run(*a); });
}

}  // namespace igebm::tools
