#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/model/conditions.h"
#include "igebm/model/shipped.h"
#include "igebm/nn/weights.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/recipe.h"
#include "igebm/training/record.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

void describe_graph(const nn::Graph& graph) {
  fmt::print("network: {}\n", nn::in_words(graph));
  for (const auto& [name, shape] : nn::parameter_shapes(graph)) fmt::print("  {} ({})\n", name, fmt::join(shape, ", "));
}

void describe_recipe(const training::Recipe& recipe) {
  fmt::print("data: {}\nengine: {}, seed {}\n", recipe.data.name, name_of(recipe.engine), recipe.seed);
  for (const auto& phase : recipe.phases) fmt::print("phase {}: {}\n", phase.name, training::in_words(phase));
  if (recipe.network.kind == "classifier") return;
  fmt::print("sampling: {}\n", sampling::describe_steps(recipe.sampling, recipe.network.noise_features > 0));
}

/// A model with what its file tells beside its graph.
void describe_model(const model::NetworkFile& model) {
  const model::ConditionSpec spec = model::condition_spec(model.graph, model.metadata);
  if (const model::Conditions& c = spec.numbers; !c.names.empty()) {
    fmt::print("conditions, from least to greatest in {} of the data:\n", c.rows.size(0));
    for (std::size_t i = 0; i < c.names.size(); ++i) {
      const at::Tensor values = c.rows.select(1, static_cast<std::int64_t>(i));
      fmt::print("  {} {:.4g} {:.4g}\n", c.names[i], values.min().item<double>(), values.max().item<double>());
    }
    if (spec.optional_condition) fmt::print("  or none\n");
  }
  if (!spec.class_names.empty())
    fmt::print("classes: {}{}\n", fmt::join(spec.class_names, ", "), spec.optional_condition ? ", or none" : "");
  if (spec.noise) fmt::print("noise levels: {}\n", to_json(*spec.noise));
  describe_graph(model.graph);
}

void info(const std::string& what) {
  const fs::path path = model::find_model(what);
  if (!fs::exists(path)) throw UserError(fmt::format("{}: no such run, checkpoint, model or recipe", what));
  if (path.extension() == ".toml") {
    const auto recipe = training::read_recipe(what, {});
    describe_recipe(recipe);
    const auto data = data::load(recipe.data, data::Split::train, static_cast<std::uint64_t>(recipe.seed));
    const auto conditions = static_cast<std::int64_t>(data.condition_columns(recipe.network.conditions).size());
    describe_graph(training::build_graph(recipe.network, data.shape(), data.classes, conditions));
    return;
  }
  if (path.extension() == ".png" || path.extension() == ".npz" || path.extension() == ".gif") {
    const nlohmann::ordered_json said = read_provenance(path);
    for (const auto& [name, value] : said.items())
      fmt::print("{}: {}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
    return;
  }
  if (fs::is_regular_file(path)) {
    describe_model(model::read_network_file(path));
    return;
  }
  const bool is_checkpoint = fs::exists(path / "checkpoint.json");
  if (!is_checkpoint) {
    if (!fs::exists(path / "recipe.toml"))
      throw UserError(fmt::format("{}: neither a run, a checkpoint nor a recipe", what));
    const auto recipe = training::read_recipe((path / "recipe.toml").string(), {});
    describe_recipe(recipe);
    if (fs::exists(path / "network.safetensors")) {
      describe_model(model::load_network(path));
      return;
    }
    const auto folders = model::list_checkpoints(path);
    if (folders.empty()) throw UserError(fmt::format("{}: no checkpoint yet", what));
    const auto newest = training::load_newest(path);
    const auto rollbacks = training::read_rollbacks(path);  // also those after the newest checkpoint
    fmt::print("steps: {} of {}{}\nwatchdog: {} of {} rollbacks\n", newest.step, recipe.total_steps(),
               newest.step == recipe.total_steps() ? " (finished)" : "", rollbacks.size(), recipe.watchdog.rollbacks);
    for (const auto& r : rollbacks) fmt::print("  step {}: {}; back to step {}\n", r.step, r.reason, r.to);
    if (const auto end = training::read_gave_up(path)) fmt::print("  step {}: {}; gave up\n", end->step, end->reason);
    fmt::print("checkpoints:");
    for (const auto& folder : folders) fmt::print(" {}", folder.filename().string());
    fmt::print("\n");
    if (newest.best) {
      const training::Best& best = *newest.best;
      fmt::print("best: step {}, {} {:.4g} of {} samples (checkpoints/best; igebm sample {} --best)\n", best.step,
                 best.metric.empty() ? recipe.evaluate.metric : best.metric, best.value,
                 best.count > 0 ? best.count : recipe.evaluate.count, io::in_shell(what));
    }
    describe_model(newest.network);
    return;
  }
  const auto checkpoint = training::load_checkpoint(path);
  fmt::print("step: {}\nwatchdog: {} rollbacks\nthreads: {}\nengine: {}\n", checkpoint.step, checkpoint.rollbacks,
             checkpoint.threads, checkpoint.engine);
  describe_model(checkpoint.network);
}

}  // namespace

void add_info(CLI::App& app) {
  auto* command =
      app.add_subcommand("info", "say what a run, a checkpoint or a recipe holds, and where a picture comes from");
  auto what = std::make_shared<std::string>();
  command
      ->add_option(
          "WHAT", *what,
          "a run's or checkpoint's folder, a model's name, a .safetensors file, a recipe, or FILE.png, FILE.gif or "
          "FILE.npz of igebm")
      ->required();
  add_threads_option(*command);
  command->callback([what] { info(*what); });
}

}  // namespace igebm::tools
