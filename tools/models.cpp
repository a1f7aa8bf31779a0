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

}  // namespace igebm::tools
