#include "igebm/scoring/ood.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;
using scoring::Ood;

struct OodArguments {
  std::string run, background, out, weights = "average", device;
  std::vector<std::string> set;
  scoring::OodOptions options;
  std::int64_t seed = -1;
  bool best = false, json = false;
};

nlohmann::ordered_json json_of(const std::optional<double>& mean) {
  return mean ? nlohmann::ordered_json(*mean) : nlohmann::ordered_json();
}

nlohmann::ordered_json to_json(const OodArguments& a, const Ood& ood, double seconds) {
  nlohmann::ordered_json entries = nlohmann::ordered_json::array(), sets = nlohmann::ordered_json::array();
  for (const auto& set : ood.sets) {
    sets.push_back({{"name", set.name}, {"count", set.count}, {"near", set.near}, {"made", set.made}});
    for (std::size_t i = 0; i < set.separations.size(); ++i) {
      const auto& score = scoring::ood_scores()[i];
      entries.push_back({{"set", set.name},
                         {"score", score.name},
                         {"baseline", score.baseline},
                         {"auroc", interval_json(set.separations[i].auroc)},
                         {"aupr", interval_json(set.separations[i].aupr)},
                         {"fpr95", interval_json(set.separations[i].fpr95)}});
    }
  }
  return {{"model", a.run},
          {"test", ood.test_count},
          {"fitted_on", {{"pictures", ood.usual}, {"count", ood.usual_count}}},
          {"seed", ood.seed},
          {"seconds", seconds},
          {"mean_auroc", {{"far", json_of(ood.mean_auroc(0, false))}, {"near", json_of(ood.mean_auroc(0, true))}}},
          {"sets", sets},
          {"missing", ood.missing},
          {"entries", entries}};
}

void print_text(const OodArguments& a, const Ood& ood) {
  fmt::print("{}: {} test pictures; scores fitted on {} pictures {}, seed {}\n", a.run, ood.test_count, ood.usual_count,
             ood.usual, ood.seed);
  for (const auto& set : ood.sets) {
    fmt::print("{}, {}, {} pictures{}:\n{:<22}{:>24}{:>8}{:>8}\n", set.name, set.near ? "near" : "far", set.count,
               set.made.empty() ? "" : ", " + set.made, "", "AUROC", "AUPR", "FPR95");
    for (std::size_t i = 0; i < set.separations.size(); ++i) {
      const auto& s = set.separations[i];
      const auto& score = scoring::ood_scores()[i];
      fmt::print("{:<22}{:>8.3f} ({:.3f} to {:.3f}){:>8.3f}{:>8.3f}\n",
                 fmt::format("{}{}", score.baseline ? "* " : "  ", score.name), s.auroc.value, s.auroc.low,
                 s.auroc.high, s.aupr.value, s.fpr95.value);
    }
  }
  for (const bool near : {false, true}) {
    if (const auto mean = ood.mean_auroc(0, near))
      fmt::print("mean AUROC of the default score over {} sets: {:.3f}\n", near ? "near" : "far", *mean);
  }
  fmt::print("* needs no network; in brackets, 95 % bootstrap intervals\n");
}

/// Scores of each picture for other programs, and histograms.
void write(const OodArguments& a, const Ood& ood, const io::Texts& texts) {
  const fs::path folder(a.out);
  io::make_folder(folder);
  std::map<std::string, at::Tensor> arrays;
  for (std::size_t i = 0; i < scoring::ood_scores().size(); ++i) {
    const std::string name = scoring::ood_scores()[i].name;
    arrays["test." + name] = ood.test[i];
    for (const auto& set : ood.sets) arrays[fmt::format("{}.{}", set.name, name)] = set.scores[i];
    io::write_png(folder / (name + ".png"), scoring::histograms(ood, i), texts);
  }
  io::write_npz(folder / "scores.npz", arrays, texts);
}

void evaluate_ood(OodArguments& a) {
  if (!a.out.empty()) io::check_folder(a.out);
  const auto open = [&](const std::string& run) {
    return open_model(
        run,
        {.weights = weights_of(a.weights), .best = a.best, .device = a.device, .precision = engine::Precision::f32},
        a.set);
  };
  const model::Model model = open(a.run);
  std::optional<model::Model> background;
  if (!a.background.empty()) {
    background = open(a.background);
    if (background->space().shape != model.space().shape)
      throw UserError(fmt::format("--background {}: its pictures are of another shape than {}'s", a.background, a.run));
    a.options.background = &*background;
  }
  if (a.seed >= 0) a.options.seed = static_cast<std::uint64_t>(a.seed);
  const auto progress = make_progress("interrupted, nothing is written", a.json);
  catch_interrupts();
  const double begun = now();
  const Ood ood = scoring::out_of_distribution(model, a.options, *progress);
  const Origin origin{a.run, model.step(), ood.seed};
  if (!a.out.empty()) write(a, ood, provenance(origin));
  const nlohmann::ordered_json json = to_json(a, ood, now() - begun);
  keep_evaluation("ood", origin, json, scoring::histograms(ood, 0));
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_text(a, ood);
  }
}

}  // namespace

void add_evaluate_ood(CLI::App& app) {
  auto* command =
      app.add_subcommand("ood", "does a model tell pictures of other sets from its own? AUROC, AUPR, FPR95");
  auto a = std::make_shared<OodArguments>();
  command->footer(
      "Examples:\n"
      "  igebm evaluate ood mnist\n"
      "  igebm evaluate ood cifar10 --ood uniform --ood interpolation --ood photographs=pictures/ --out ood --json\n"
      "The default score, \"anomaly\", is fixed for all models, and fitted on training pictures alone.");
  add_run_argument(*command, a->run);
  scoring::OodOptions& o = a->options;
  command
      ->add_option(
          "--ood", o.sets,
          fmt::format("NAME or NAME=PATH, may be given often: a data set, a file of CIFAR's records, an .npz, a "
                      "folder of pictures, or {} (default: the usual ones that are there)",
                      fmt::join(scoring::made_sets(), ", ")))
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--count", o.count, "pictures of each set, and of the test split")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  command->add_option("--usual", o.usual, "training pictures, held out if there are such, that scores are fitted on")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{10000000}));
  command->add_option("--pixels", o.pixels, "training pictures that the Gaussian over pixels is fitted on")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  command->add_option("--levels", o.scorer.levels, "noise levels of the default score")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command->add_option("--refine", o.refine, "steps of the score \"refined\"")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--background", a->background,
                      "a model whose energy the score \"ratio\" takes off (default: the Gaussian over pixels)");
  command->add_option("--draws", o.draws, "of the bootstrap")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  add_seed_option(*command, a->seed, "0");
  command->add_option("--out", a->out, "a folder for histograms (PNG) and each picture's scores (scores.npz)");
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("evaluate ood", [&] { evaluate_ood(*a); }); });
}

}  // namespace igebm::tools
