#include "igebm/evaluation/evaluate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "igebm/base/error.h"
#include "igebm/model/shipped.h"
#include "igebm/training/recipe.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;
using evaluation::Evaluation;
using evaluation::Figure;
using evaluation::Metric;

struct EvaluateArguments {
  std::string what, features, data, data_path, against = "test", weights = "average";
  std::vector<std::string> metrics, set;
  std::int64_t count = 1000, seed = -1;
  bool best = false, json = false;
};

bool is_file(const std::string& what) {
  const std::string ending = fs::path(what).extension();
  return ending == ".npz" || ending == ".npy";
}

data::Split against(const EvaluateArguments& a) { return value_of<data::Split>(a.against).value(); }

evaluation::EvaluationOptions options_of(const EvaluateArguments& a) {
  evaluation::EvaluationOptions options{.features = a.features, .against = against(a)};
  if (a.metrics.empty()) {
    options.where_enough = {"precision", "recall", "density", "coverage", "two_sample"};
  } else {
    options.metrics = a.metrics;
  }
  if (a.seed >= 0) options.seed = static_cast<std::uint64_t>(a.seed);
  return options;
}

/// What the samples of a file imitate.
data::Options data_of(const EvaluateArguments& a) {
  if (a.data.empty()) throw UserError(fmt::format("evaluate: {}: expected --data NAME, what it imitates", a.what));
  data::Options data;
  data.name = a.data;
  data.path = a.data_path;
  data.validation = 0;
  io::Recipe recipe = io::Recipe::parse("", "evaluate");
  for (const auto& assignment : a.set) {
    if (!assignment.starts_with("data."))
      throw UserError(fmt::format("evaluate: --set: expected data.KEY=VALUE with {}, got {}", a.what, assignment));
    recipe.set(assignment);
  }
  recipe.apply([&](io::Fields& f) { f.section("data", [&](io::Fields& g) { data::describe(g, data); }); });
  return data;
}

/// An evaluation with what the user calls its samples and data.
struct Told {
  Evaluation evaluation;
  std::string samples, data, step;
};

nlohmann::ordered_json to_json(const Metric& metric, const Figure& figure,
                               const std::vector<std::string>& condition_names) {
  if (metric.of == Metric::Of::classes) return figure.values;
  if (metric.of == Metric::Of::conditions) {
    nlohmann::ordered_json json;
    for (std::size_t i = 0; i < figure.values.size(); ++i) json[condition_names[i]] = figure.values[i];
    return json;
  }
  if (!figure.deviation) return figure.values[0];
  nlohmann::ordered_json json = {{"mean", figure.values[0]}, {"deviation", *figure.deviation}};
  for (const auto& [name, value] : figure.details) json[name] = value;
  return json;
}

nlohmann::ordered_json to_json(const evaluation::Quality& q, const std::vector<std::string>& condition_names) {
  nlohmann::ordered_json json = {{"count", q.count}};
  for (const auto& [metric, figure] : q.measurements) json[metric->name] = to_json(*metric, figure, condition_names);
  return json;
}

nlohmann::ordered_json to_json(const EvaluateArguments& a, const Told& told) {
  const Evaluation& e = told.evaluation;
  nlohmann::ordered_json json = {{"samples", told.samples},
                                 {"data", told.data},
                                 {"against", {{"split", a.against}, {"count", e.reference_count}}},
                                 {"features", e.features},
                                 {"feature_count", e.feature_count},
                                 {"seed", e.seed},
                                 {"quality", to_json(e.samples, e.condition_names)},
                                 {"real", to_json(e.real, e.condition_names)},
                                 {"real_split", name_of(e.real_split)},
                                 {"warnings", e.samples.warnings()}};
  if (e.features_accuracy) json["features_accuracy"] = *e.features_accuracy;
  return json;
}

/// One value, with its deviation where there is one.
std::string cell(const Metric& metric, const Figure& figure, std::size_t i) {
  if (figure.deviation) return fmt::format("{:.4g} +- {:.2g}", figure.values[i], *figure.deviation);
  return metric.unit == Metric::Unit::fraction ? fmt::format("{:.1f} %", 100 * figure.values[i])
                                               : fmt::format("{:.4f}", figure.values[i]);
}

void print_rows(const Metric& metric, const Figure& samples, const Figure& real, const Evaluation& e) {
  if (metric.of == Metric::Of::classes && samples.values.size() > 20) return;
  if (metric.of == Metric::Of::conditions) fmt::print("{}:\n", metric.title);
  for (std::size_t i = 0; i < samples.values.size(); ++i) {
    std::string name = metric.title;
    if (metric.of == Metric::Of::classes)
      name = i < e.class_names.size() ? e.class_names[i] : fmt::format("class {}", i);
    if (metric.of == Metric::Of::conditions) name = fmt::format("  {:<16}", e.condition_names[i]);
    fmt::print("{:<18}{:>22}{:>22}\n", name, cell(metric, samples, i), cell(metric, real, i));
  }
}

void print_text(const EvaluateArguments& a, const Told& told) {
  const Evaluation& e = told.evaluation;
  fmt::print(
      "samples: {}\nagainst: {} {} {} of {}\nfeatures: {}{}\n", told.samples, e.reference_count, a.against,
      e.pictures ? "pictures" : "points", told.data, e.features,
      e.features_accuracy ? fmt::format(", which tell {:.1f} % of these right", 100 * *e.features_accuracy) : "");
  fmt::print("{:<18}{:>22}{:>22}\n", "", "samples", "real against real");
  fmt::print("{:<18}{:>22}{:>22}\n", "count", e.samples.count, e.real.count);
  for (const auto& [metric, figure] : e.samples.measurements)
    print_rows(*metric, figure, *e.real.find(metric->name), e);
  if (e.real_split == data::Split::validation)
    fmt::print("real against real: {} records held out from training, as there is no test split\n", e.real_count);
  for (const auto& warning : e.samples.warnings()) fmt::print("warning: {}\n", warning);
}

/// A classifier's run: how often it is right.
void evaluate_classifier(const EvaluateArguments& a, const training::Recipe& recipe, const std::string& step) {
  const auto accuracy =
      evaluation::classifier_accuracy(a.what, recipe.data, against(a), static_cast<std::uint64_t>(recipe.seed));
  const nlohmann::ordered_json json = {
      {"classifier", a.what}, {"accuracy", accuracy.fraction}, {"count", accuracy.count}, {"split", a.against}};
  keep_evaluation("accuracy", {.model = a.what, .step = step}, json);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    fmt::print("{}: {:.2f} % of {} {} pictures of {} are right\n", a.what, 100 * accuracy.fraction, accuracy.count,
               a.against, recipe.data.name);
  }
}

Told evaluate_file(const EvaluateArguments& a, Observer& observer) {
  const data::Options data = data_of(a);
  return {evaluation::evaluate(evaluation::read_records(a.what), data, options_of(a), observer), a.what, data.name, ""};
}

/// Nothing of a classifier, which draws no samples.
std::optional<Told> evaluate_run(const EvaluateArguments& a, Observer& observer) {
  if (!a.data.empty() || !a.data_path.empty())
    throw UserError("evaluate: --data and --data-path go with SAMPLES.npz; a run knows its data");
  const fs::path run = model::find_model(a.what);
  const auto recipe = training::read_recipe((model::run_of(run) / "recipe.toml").string(), a.set);
  const auto model = model::Model::open(run, {.weights = weights_of(a.weights), .best = a.best}, recipe);
  if (model.graph().outputs > 0) {
    evaluate_classifier(a, recipe, model.step());
    return {};
  }
  const Evaluation e = evaluation::evaluate(model, a.count, options_of(a), observer);
  return Told{e,
              fmt::format("{} (step {}, {}{}; {}, seed {})", a.what, model.step().empty() ? "?" : model.step(),
                          a.weights == "network" ? "weights as trained" : "average of weights",
                          model.size() > 1 ? fmt::format(", {} checkpoints in turn", model.size()) : "",
                          sampling::describe_steps(recipe.sampling, model.condition_spec().noise.has_value()), e.seed),
              recipe.data.name, model.step()};
}

std::optional<Told> told_of(const EvaluateArguments& a) {
  const auto progress = make_progress("evaluate: interrupted", a.json);
  catch_interrupts();
  return is_file(a.what) ? evaluate_file(a, *progress) : evaluate_run(a, *progress);
}

void evaluate(const EvaluateArguments& a) {
  const auto told = told_of(a);
  if (!told) return;
  const nlohmann::ordered_json json = to_json(a, *told);
  if (!is_file(a.what)) keep_evaluation("quality", {a.what, told->step, told->evaluation.seed}, json);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_text(a, *told);
  }
}

std::string help_of_metrics() {
  std::vector<std::string> always;
  for (const Metric& metric : evaluation::metrics()) {
    if (metric.always) always.emplace_back(metric.name);
  }
  return fmt::format(
      "one of {}; may be given often (default: frechet, and of enough samples precision, recall, density, "
      "coverage, two_sample). Told in any case where they can be: {}",
      fmt::join(evaluation::metric_names(), ", "), fmt::join(always, ", "));
}

}  // namespace

void add_evaluate_samples(CLI::App& app) {
  auto* command = app.add_subcommand("samples", "measure the quality of samples, beside that of as many real pictures");
  auto a = std::make_shared<EvaluateArguments>();
  command
      ->add_option(
          "RUN", a->what,
          "a run's folder, one of its checkpoints, a model's name (igebm models), or SAMPLES.npz (or .npy) with --data")
      ->required();
  command->add_option("--metric", a->metrics, help_of_metrics())
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::IsMember(evaluation::metric_names()));
  command->add_option("--features", a->features,
                      "what pictures are compared by: a classifier's run or .safetensors, a CIFAR ResNet's .npz, or a "
                      "TorchScript .pt such as Inception's, or gradients: oriented ones, which nobody trains (default: "
                      "runs/classifier-<data> where it is there, else gradients; points: themselves)");
  command->add_option("--count", a->count, "samples drawn from a run")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  add_seed_option(*command, a->seed, "the recipe's");
  command->add_option("--against", a->against, "the split that samples are compared with: test or train")
      ->capture_default_str()
      ->check(CLI::IsMember({"test", "train"}));
  command->add_option("--data", a->data, "the data set that SAMPLES.npz imitate");
  command->add_option("--data-path", a->data_path, "its folder, where it is not in the usual one");
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_sampling_options(*command, a->set);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a, command] {
    for (const char* option :
         {"--count", "--steps", "--budget", "--guidance", "--sampler", "--best", "--weights", "--engine"}) {
      if (is_file(a->what) && command->count(option) > 0)
        throw UserError(fmt::format("evaluate: {} goes with a run; {} holds samples already", option, a->what));
    }
    evaluate(*a);
  });
}

void add_evaluate(CLI::App& app) {
  auto* command = app.add_subcommand("evaluate", "measure a model: the quality of its samples, what its energy tells");
  command->require_subcommand(1);
  command->footer("igebm evaluate RUN is short for igebm evaluate samples RUN.");
  add_evaluate_samples(*command);
  add_evaluate_ood(*command);
  add_evaluate_likelihood(*command);
  add_evaluate_classification(*command);
  add_evaluate_robustness(*command);
  add_evaluate_continual(*command);
}

}  // namespace igebm::tools
