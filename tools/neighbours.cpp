#include "igebm/evaluation/neighbours.h"

#include <ATen/ATen.h>
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
using evaluation::Nearness;
using evaluation::Neighbours;

struct NeighboursArguments {
  std::string run, features, held_out = "test", out = "neighbours.png", weights = "average";
  std::vector<std::string> set;
  std::int64_t count = 20, nearest = 5, samples = 200, seed = -1;
  bool best = false, json = false;
};

nlohmann::ordered_json to_json(const at::Tensor& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (std::int64_t j = 0; j < rows.size(1); ++j) {
      const at::Scalar one = rows[i][j].item();
      one.isFloatingPoint() ? row.push_back(one.toDouble()) : row.push_back(one.toLong());
    }
    json.push_back(row);
  }
  return json;
}

nlohmann::ordered_json to_json(const Nearness& n, std::int64_t rows, std::int64_t nearest) {
  const auto shown = [&](const at::Tensor& t) { return to_json(t.slice(0, 0, rows).slice(1, 0, nearest)); };
  return {{"in", n.in},
          {"median", {{"samples", n.samples_median}, {"held_out", n.held_out_median}}},
          {"p", n.test.p},
          {"nearer", n.test.share},
          {"quantile", n.quantile},
          {"below_quantile", n.below},
          {"copies", {{"samples", n.copies}, {"held_out", n.held_out_copies}}},
          {"neighbours", shown(n.samples.records)},
          {"distances", shown(n.samples.distances)}};
}

nlohmann::ordered_json to_json(const NeighboursArguments& a, const Neighbours& found) {
  nlohmann::ordered_json measured = nlohmann::ordered_json::array();
  for (const Nearness& n : found.in) measured.push_back(to_json(n, a.count, found.nearest));
  return {{"picture", a.out},
          {"samples", found.samples.size()},
          {"training_pictures", found.training.size(0)},
          {"mirrored", found.mirrored},
          {"held_out", {{"split", name_of(found.split)}, {"count", found.held_out}}},
          {"seed", found.seed},
          {"nearness", measured}};
}

void print_text(const NeighboursArguments& a, const model::Model& model, const Neighbours& found) {
  fmt::print(
      "samples: {} of {}\namong: {} training pictures of {}{}\nbeside: {} {} pictures, which training has not seen\n",
      found.samples.size(), describe_samples(a.run, model, found.seed), found.training.size(0),
      model.settings().data.name, found.mirrored ? ", and mirrored" : "", found.held_out, name_of(found.split));
  for (const Nearness& n : found.in) {
    fmt::print("{}:\n{:<36}{:>10}{:>10}\n", n.in, "", "samples", "held out");
    fmt::print("{:<36}{:>10.4g}{:>10.4g}\n", "  distance to the nearest, median", n.samples_median, n.held_out_median);
    fmt::print("{:<36}{:>8.1f} %{:>8.1f} %\n", fmt::format("  nearer than {:.4g}", n.quantile), 100 * n.below, 1.0);
    fmt::print("{:<36}{:>8.1f} %{:>8.1f} %\n", "  copies (a third of the next)", 100 * n.copies,
               100 * n.held_out_copies);
    fmt::print("  a sample is nearer than a held-out picture in {:.1f} % of pairs: p = {:.2g} (one-sided rank test)\n",
               100 * n.test.share, n.test.p);
  }
  fmt::print("picture: {}\n", a.out);
}

void neighbours(const NeighboursArguments& a) {
  const fs::path out(a.out);
  if (out.extension() != ".png") throw UserError(fmt::format("--out {}: expected a name that ends in .png", a.out));
  io::check_writable(out);
  const model::Model model = open_model(a.run, {.weights = weights_of(a.weights), .best = a.best}, a.set);
  if (model.space().kind != model::SampleSpace::Kind::image || !io::has_picture(model.space().shape))
    throw UserError(fmt::format("{}: its records are no pictures", a.run));
  evaluation::NeighbourOptions options{.samples = std::max(a.samples, a.count),
                                       .nearest = a.nearest,
                                       .features = a.features,
                                       .held_out = value_of<data::Split>(a.held_out).value()};
  if (a.seed >= 0) options.seed = static_cast<std::uint64_t>(a.seed);
  const auto progress = make_progress("neighbours: interrupted", a.json);
  catch_interrupts();
  const Neighbours found = evaluation::neighbours(model, options, *progress);
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  const Origin origin{a.run, model.step(), found.seed};
  const at::Tensor picture = evaluation::picture_of(found, a.count);
  io::write_png(out, picture, provenance(origin));
  const nlohmann::ordered_json json = to_json(a, found);
  keep_evaluation("neighbours", origin, json, picture);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_text(a, model, found);
  }
}

}  // namespace

void add_neighbours(CLI::App& app) {
  auto* command = app.add_subcommand(
      "neighbours", "the training pictures nearest to samples: does the model remember, or make new ones?");
  auto a = std::make_shared<NeighboursArguments>();
  command->footer(
      "Examples:\n"
      "  igebm neighbours mnist\n"
      "  igebm neighbours fashion-mnist --features runs/classifier-fashion-mnist --samples 1000\n"
      "A row of the picture holds a sample, and its nearest training pictures: in pixels, then in features.");
  add_run_argument(*command, a->run);
  command->add_option("--count", a->count, "samples in the picture")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}));
  command->add_option("--nearest", a->nearest, "training pictures beside each")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100}));
  command->add_option("--samples", a->samples, "samples drawn for the test, and held-out pictures for it")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{200}, std::int64_t{1000000}));
  command->add_option("--features", a->features,
                      "neighbours in these, too: a classifier's run or .safetensors, a CIFAR ResNet's .npz, a "
                      "TorchScript .pt such as Inception's, or gradients");
  command->add_option("--held-out", a->held_out, "the pictures that samples are set beside: test or validation")
      ->capture_default_str()
      ->check(CLI::IsMember({"test", "validation"}));
  add_seed_option(*command, a->seed, "the recipe's");
  command->add_option("--out", a->out, "FILE.png")->capture_default_str();
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_sampling_options(*command, a->set);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("neighbours", [&] { neighbours(*a); }); });
}

}  // namespace igebm::tools
