#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/model/model.h"
#include "igebm/model/shipped.h"
#include "igebm/nn/weights.h"
#include "igebm/training/recipe.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct ModelsArguments {
  std::string name;
  bool json = false;
};

void list_models(bool json) {
  const auto all = model::shipped_models();
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& m : all) {
      const auto file = model::load_network(m.folder);
      list.push_back({{"name", m.name},
                      {"folder", m.folder.string()},
                      {"about", m.about},
                      {"parameters", nn::parameter_count(file.graph)},
                      {"input", file.graph.input_shape}});
    }
    fmt::print("{}\n", json_text(list, 2));
    return;
  }
  if (all.empty()) {
    std::vector<std::string> places;
    for (const fs::path& place : model::model_places()) places.push_back(place.string());
    throw UserError(fmt::format("models: none found; looked in {}", fmt::join(places, ", ")));
  }
  std::size_t width = 0;
  for (const auto& m : all) width = std::max(width, m.name.size());
  for (const auto& m : all) fmt::print("{:<{}}  {}\n", m.name, width, m.about);
  fmt::print(
      "\nTheir names stand for runs: igebm sample {0}; igebm train RECIPE --from {0}; its card: igebm models {0}\n",
      all.front().name);
}

void show_model(const std::string& name) {
  const fs::path folder = model::find_model(name);
  if (!fs::exists(folder)) throw UserError(fmt::format("models: {}: no such model; igebm models lists them", name));
  const fs::path card = folder / "README.md";
  if (!fs::exists(card)) throw UserError(fmt::format("models: {}: it has no card; see igebm info {}", name, name));
  fmt::print("{}", io::read_file(card));
}

struct ExportArguments {
  std::string run, folder, weights = "average";
  bool best = false, replace = false, half = false;
};

/// A run's recipe without what is of the machine it was trained on.
std::string recipe_of(const fs::path& run) {
  training::Recipe recipe = training::read_recipe((run / "recipe.toml").string(), {});
  const training::Recipe usual;
  recipe.threads = usual.threads, recipe.device = usual.device, recipe.choices = usual.choices;
  recipe.data.path = usual.data.path, recipe.evaluate.features = usual.evaluate.features;
  return io::write_recipe([&](io::Fields& f) { describe(f, recipe); });
}

void export_run(const ExportArguments& a) {
  const fs::path what = model::find_model(a.run), run = model::run_of(what), folder = a.folder;
  const auto file = model::load_network(a.best ? model::find_best(run) : what, weights_of(a.weights));
  const std::string recipe = recipe_of(run);
  const fs::path weights = folder / "network.safetensors";
  if (!a.replace && fs::exists(weights))
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
  if (!fs::exists(folder / "recipe.toml")) io::write_atomically(folder / "recipe.toml", recipe);
  fmt::print("{}: {:.1f} MB of weights; use it as a run: igebm sample {}\n", a.folder,
             static_cast<double>(fs::file_size(weights)) * 1e-6, io::in_shell(a.folder));
}

}  // namespace

void add_models(CLI::App& app) {
  auto* command = app.add_subcommand("models", "list trained models that may be used by name, or show one's card");
  auto a = std::make_shared<ModelsArguments>();
  command->add_option("NAME", a->name, "the model whose card to show");
  command->add_flag("--json", a->json, "print the list as JSON");
  command->callback([a] {
    if (!a->name.empty() && a->json) throw UserError("models: --json goes without a NAME");
    a->name.empty() ? list_models(a->json) : show_model(a->name);
  });
}

void add_export(CLI::App& app) {
  auto* command = app.add_subcommand("export", "keep a run's weights and recipe as a small model, to use and to share");
  auto a = std::make_shared<ExportArguments>();
  command->add_option("RUN", a->run, "a run's folder, or one of its checkpoints")->required();
  command->add_option("FOLDER", a->folder, "where to; a folder in models/ or $IGEBM_MODELS gives the model a name")
      ->required();
  command->add_flag("--best", a->best, "the checkpoint that the recipe's [evaluate] found best, instead of the newest");
  add_weights_option(*command, a->weights);
  command->add_flag("--half", a->half, "weights in 16 bits, half the size: rounded to about 0.05 %");
  command->add_flag("--replace", a->replace, "write over weights that are there; a recipe that is there stays");
  command->callback([a] { export_run(*a); });
}

}  // namespace igebm::tools
