#include "igebm/evaluation/curve.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;
using evaluation::CurvePoint;
using evaluation::Quality;

struct CurveArguments {
  std::string run, features, out = "curve.png", weights = "average";
  std::vector<std::int64_t> budgets = {10, 30, 100, 300};
  std::vector<std::string> set;
  std::int64_t count = 500, seed = -1;
  bool best = false, json = false;
};

/// What is told of samples, and of real records in their place; label accuracy where there is any.
nlohmann::ordered_json to_json(const Quality& quality) {
  nlohmann::ordered_json json;
  for (const char* metric : {"frechet", "diversity", "labels_right"}) {
    if (const auto* figure = quality.find(metric)) json[metric] = figure->mean();
  }
  return json;
}

nlohmann::ordered_json to_json(const CurveArguments& a, const std::vector<CurvePoint>& points) {
  const evaluation::Evaluation& e = points.at(0).evaluation;
  nlohmann::ordered_json json = {{"run", a.run},
                                 {"count", a.count},
                                 {"against", {{"split", "test"}, {"count", e.reference_count}}},
                                 {"features", e.features},
                                 {"seed", e.seed},
                                 {"real", to_json(e.real)},
                                 {"points", nlohmann::ordered_json::array()}};
  for (const CurvePoint& point : points) {
    nlohmann::ordered_json one = {{"budget", point.budget}, {"gradients", point.gradients}, {"seconds", point.seconds}};
    one.update(to_json(point.evaluation.samples));
    json["points"].push_back(one);
  }
  return json;
}

std::string row(const std::string& budget, const std::string& gradients, const Quality& q, const std::string& seconds) {
  const auto* right = q.find("labels_right");
  return fmt::format("{:>8}{:>11}{:>18.4f}{:>11.3f}{:>13}{:>18}\n", budget, gradients, q.find("frechet")->mean(),
                     q.find("diversity")->mean(), right != nullptr ? fmt::format("{:.1f} %", 100 * right->mean()) : "-",
                     seconds);
}

void print_text(const CurveArguments& a, const std::vector<CurvePoint>& points) {
  const evaluation::Evaluation& e = points.at(0).evaluation;
  fmt::print("{}: {} samples of each budget, seed {}\nagainst: {} test {}\nfeatures: {}\n", a.run, a.count, e.seed,
             e.reference_count, e.pictures ? "pictures" : "points", e.features);
  fmt::print("{:>8}{:>11}{:>18}{:>11}{:>13}{:>18}\n", "budget", "gradients", "Frechet distance", "diversity",
             "label right", "seconds a sample");
  for (const CurvePoint& p : points)
    fmt::print("{}", row(fmt::to_string(p.budget), fmt::to_string(p.gradients), p.evaluation.samples,
                         fmt::format("{:.3g}", p.seconds)));
  fmt::print("{}", row("real", "", e.real, ""));
  for (const auto& warning : e.samples.warnings()) fmt::print("warning: {}\n", warning);
  fmt::print("{}: {}\n", fs::path(a.out).extension() == ".png" ? "picture, a row for each budget" : "figures", a.out);
}

void curve(const CurveArguments& a) {
  const fs::path out(a.out);
  const bool picture = out.extension() == ".png";
  if (!picture && out.extension() != ".json")
    throw UserError(fmt::format("--out {}: expected a name that ends in .png or .json", a.out));
  io::check_writable(out);
  const model::Model model = open_model(a.run, {.weights = weights_of(a.weights), .best = a.best}, a.set);
  const model::SampleSpace& space = model.space();
  if (picture && (space.kind != model::SampleSpace::Kind::image || !io::has_picture(space.shape)))
    throw UserError(fmt::format("--out {}: these samples have no picture; use FILE.json", a.out));
  evaluation::CurveOptions options{.budgets = a.budgets, .count = a.count, .features = a.features};
  if (a.seed >= 0) options.seed = static_cast<std::uint64_t>(a.seed);
  const auto progress = make_stopping_progress(a.json);
  catch_interrupts();
  const std::vector<CurvePoint> points = evaluation::curve(model, options, *progress);
  if (points.empty()) throw UserError("interrupted, nothing is written: no budget was finished");
  const bool part = points.size() < a.budgets.size();
  if (part && !a.json)
    progress->message(
        told_of_part(static_cast<std::int64_t>(points.size()), static_cast<std::int64_t>(a.budgets.size()), "budgets"));
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  nlohmann::ordered_json json = to_json(a, points);
  if (part) json["interrupted"] = true;
  const Origin origin{a.run, model.step(), points[0].evaluation.seed};
  at::Tensor drawn;
  if (picture) {
    const std::int64_t classes = model.condition_spec().classes, most = 10;
    drawn = evaluation::picture_of(points, classes > 1 && classes < most ? classes : most);
    io::write_png(out, drawn, provenance(origin));
  } else {
    io::write_atomically(out, json_text(json, 2) + "\n");
  }
  keep_evaluation("curve", origin, json, drawn);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_text(a, points);
  }
}

}  // namespace

void add_curve(CLI::App& app) {
  auto* command =
      app.add_subcommand("curve", "quality, diversity and time against the gradients that a sample may cost");
  auto a = std::make_shared<CurveArguments>();
  command->footer(
      "Examples:\n"
      "  igebm curve fashion-mnist --features runs/classifier-fashion-mnist\n"
      "  igebm curve mnist --budgets 10,20,50 --count 1000 --out curve.json\n"
      "A row of the picture holds the same chains, begun and asked alike, at one budget.");
  add_run_argument(*command, a->run);
  command->add_option("--budgets", a->budgets, "gradients that a sample may cost")
      ->capture_default_str()
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000000}));
  command->add_option("--count", a->count, "samples drawn at each")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1000000}));
  command->add_option("--features", a->features, "what pictures are compared by, as igebm evaluate has it");
  add_seed_option(*command, a->seed, "the recipe's");
  command->add_option("--out", a->out, "FILE.png (samples, a row for each budget) or FILE.json (the figures)")
      ->capture_default_str();
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("curve", [&] { curve(*a); }); });
}

}  // namespace igebm::tools
