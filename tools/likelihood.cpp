#include "igebm/scoring/likelihood.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/model/shipped.h"
#include "tools/asked.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

using scoring::Interval;
using scoring::Likelihood;

struct LikelihoodArguments {
  std::string run, label, condition, out, weights = "average", device;
  std::vector<std::string> set;
  scoring::LikelihoodOptions options;
  scoring::AnnealedOptions annealed;
  bool ais = false;
  std::int64_t seed = -1;
  bool best = false, json = false;
};

nlohmann::ordered_json density_json(const Likelihood& l, const Interval& i) {
  return {{"nats", i.value},
          {"interval", {i.low, i.high}},
          {"bits", l.bits(i.value)},
          {"bits_interval", {l.bits(i.high), l.bits(i.low)}}};
}

nlohmann::ordered_json normaliser_json(const scoring::LogNormaliser& n, const LikelihoodArguments& a) {
  nlohmann::ordered_json json = {
      {"name", n.name}, {"about", n.about}, {"value", n.log_z.value}, {"interval", {n.log_z.low, n.log_z.high}}};
  if (!n.annealed) return json;
  json["chains"] = n.annealed->log_weights.size(0);
  json["levels"] = a.annealed.levels, json["leapfrog"] = a.annealed.leapfrog;
  json["effective"] = n.annealed->effective, json["accepted"] = n.annealed->accepted;
  json["deviation"] = n.annealed->log_weights.std().item<double>();
  json["gradients"] = n.annealed->gradients, json["seconds"] = n.seconds;
  return json;
}

nlohmann::ordered_json likelihood_json(const LikelihoodArguments& a, const model::Model& model, const Likelihood& l,
                                       double seconds) {
  nlohmann::ordered_json normalisers = nlohmann::ordered_json::array(), rows = nlohmann::ordered_json::array();
  for (const auto& n : l.normalisers) normalisers.push_back(normaliser_json(n, a));
  for (const auto& r : l.rows) {
    rows.push_back({{"name", r.name}, {"about", r.about}, {"baseline", r.baseline}, {"test", density_json(l, r.test)}});
    if (r.training) rows.back()["training"] = density_json(l, *r.training);
    if (r.count > 0) rows.back()["count"] = r.count;
  }
  nlohmann::ordered_json json = {{"model", a.run},
                                 {"step", model.step()},
                                 {"sigma", l.sigma},
                                 {"elements", l.elements},
                                 {"range", {l.low, l.high}},
                                 {"dequantised", l.dequantised},
                                 {"seed", l.seed},
                                 {"seconds", seconds},
                                 {"test", l.test_count},
                                 {"training", l.training_count},
                                 {"gaussians_fitted_on", l.fitted},
                                 {"exact_samples", l.exact_samples},
                                 {"log_z", normalisers},
                                 {"log_p", rows}};
  if (l.sigma > 0) json["noise"] = {{"nats", l.noise_nats}, {"bits", l.bits(l.noise_nats)}};
  return json;
}

std::string law_of(const Likelihood& l) {
  const std::string data = l.grey_levels > 0 ? l.dequantised ? "dequantised pictures" : "pictures" : "points";
  if (l.sigma == 0) return data;
  const std::string size =
      l.grey_levels > 0 ? fmt::format(" in [{:g}, {:g}] ({:.1f} of {} grey levels)", l.low, l.high,
                                      l.sigma / (l.high - l.low) * static_cast<double>(l.grey_levels), l.grey_levels)
                        : "";
  return fmt::format("{} with noise of {:.3g}{}", data, l.sigma, size);
}

void print_likelihood(const LikelihoodArguments& a, const Likelihood& l) {
  fmt::print("{}: log density of {}; {} elements, seed {}\n{} test and {} training records, Gaussians fitted on {}\n",
             a.run, law_of(l), l.elements, l.seed, l.test_count, l.training_count, l.fitted);
  fmt::print("\n{:<18}{:>12}{:>28}\n", "log Z", "nats", "95 % interval");
  for (const auto& n : l.normalisers) {
    const bool interval = n.log_z.low < n.log_z.high;
    fmt::print("{:<18}{:>12.3f}{:>28}  {}\n", n.name, n.log_z.value,
               interval ? fmt::format("{:.3f} to {:.3f}", n.log_z.low, n.log_z.high) : "", n.about);
    if (n.annealed)
      fmt::print("{:<18}worth {:.1f} of {} chains; {} levels, {} gradients each, {:.0f} % of proposals taken, {}\n", "",
                 n.annealed->effective, n.annealed->log_weights.size(0), a.annealed.levels, n.annealed->gradients,
                 100 * n.annealed->accepted, duration(n.seconds));
  }
  const bool bits = l.grey_levels > 0;
  fmt::print("\n{:<18}{:>12}{:>28}{}{:>14}\n", "mean log p", "test, nats", "95 % interval",
             bits ? "  bits/element" : "", "training");
  for (const auto& r : l.rows) {
    fmt::print("{:<18}{:>12.3f}{:>28}{}{:>14}{}\n", (r.baseline ? "* " : "") + r.name, r.test.value,
               fmt::format("{:.3f} to {:.3f}", r.test.low, r.test.high),
               bits ? fmt::format("{:>14.4f}", l.bits(r.test.value)) : "",
               r.training ? fmt::format("{:.3f}", r.training->value) : "",
               r.count > 0 ? fmt::format("  {} test records", r.count) : "");
  }
  if (l.sigma > 0)
    fmt::print("{:<18}{:>12.3f}{:>28}{}\n", "noise alone", l.noise_nats, "no law can have more",
               bits ? fmt::format("{:>14.4f}", l.bits(l.noise_nats)) : "");
  fmt::print("* needs no network; intervals of log p are of which records were taken, not of log Z\n");
  if (!std::ranges::any_of(l.normalisers, [](const auto& n) { return n.name == "own"; }) && l.sigma > 0)
    fmt::print("no own log Z: trained without time_score, energies of different noise levels do not compare\n");
  if (std::ranges::any_of(l.rows, [](const auto& r) { return r.name == "raise"; }))
    fmt::print(
        "no exact samples of such a model: log Z has no upper bound here; \"raise\" is below the mean log p of what "
        "the forward chains end as\n");
}

/// Where forward chains end, the heaviest first.
void write_chains(const LikelihoodArguments& a, const model::Model& model, const Likelihood& l) {
  const auto n = std::ranges::find_if(l.normalisers, [](const auto& one) { return one.name == "forwards"; });
  const at::Tensor order = n->annealed->log_weights.argsort(0, true), x = n->annealed->x.index_select(0, order);
  const io::Texts texts = provenance({a.run, model.step(), l.seed});
  if (std::filesystem::path(a.out).extension() == ".png") {
    io::write_png(a.out, model::picture_of(model, x, x.abs().max().item<double>()), texts);
  } else {
    const model::SampleSpace& space = model.space();
    const bool pictures = space.kind == model::SampleSpace::Kind::image;
    // Not brought to the range: chains that left it say what is wrong with an energy.
    io::write_npz(a.out,
                  {{pictures ? "images" : "points", pictures ? (x - space.low) / (space.high - space.low) : x},
                   {"log_weights", n->annealed->log_weights.index_select(0, order)}},
                  texts);
  }
}

void evaluate_likelihood(LikelihoodArguments& a) {
  if (!a.out.empty()) check_out(a.out);
  const model::Model model = open_model(
      a.run,
      {.weights = weights_of(a.weights), .best = a.best, .device = a.device, .precision = engine::Precision::f32},
      a.set);
  if (model.graph().outputs > 0) throw UserError("this model is a classifier, which has no density");
  const model::ConditionSpec& spec = model.condition_spec();
  if (!a.out.empty()) check_out(a.out, model.space().shape), io::check_writable(a.out);
  a.options.condition = asked_condition(spec, a.label, a.condition);
  if (a.seed >= 0) a.options.seed = static_cast<std::uint64_t>(a.seed);
  a.annealed.seed = a.options.seed;
  if (a.ais) a.options.annealed = a.annealed;
  a.options.levels_compare = levels_compare(a.run, a.set);
  const auto progress = make_progress("interrupted, nothing is printed", a.json);
  catch_interrupts();
  const double begun = now();
  const Likelihood l = scoring::likelihood(model, a.options, *progress);
  if (!a.out.empty()) write_chains(a, model, l);
  const nlohmann::ordered_json json = likelihood_json(a, model, l, now() - begun);
  keep_evaluation("likelihood", {a.run, model.step(), l.seed}, json);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_likelihood(a, l);
  }
}

void add_annealing_options(CLI::App& command, LikelihoodArguments& a) {
  const auto positive = CLI::Range(std::int64_t{1}, std::int64_t{10000000});
  auto* ais = command.add_flag("--ais", a.ais, "find log Z by annealed importance sampling too");
  scoring::AnnealedOptions& o = a.annealed;
  command.add_option("--chains", o.chains, "of --ais")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1000000}))
      ->needs(ais);
  command.add_option("--levels", o.levels, "of --ais: energies that chains are led through")
      ->capture_default_str()
      ->check(positive)
      ->needs(ais);
  command
      .add_option("--leapfrog", o.leapfrog,
                  "of --ais: leapfrog steps of a Hamiltonian Monte Carlo transition, one a level")
      ->capture_default_str()
      ->check(positive)
      ->needs(ais);
  command.add_option("--backwards", a.options.backwards, "of --ais: chains from the end to the beginning; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}))
      ->needs(ais);
  command.add_option("--out", a.out, "of --ais: FILE.png or FILE.npz, where chains end, the heaviest first")
      ->needs(ais);
}

}  // namespace

void add_evaluate_likelihood(CLI::App& app) {
  auto* command = app.add_subcommand("likelihood", "log p of test data, beside training data and Gaussians; log Z");
  auto a = std::make_shared<LikelihoodArguments>();
  command->footer(
      "Examples:\n"
      "  igebm evaluate likelihood two-moons --ais\n"
      "  igebm evaluate likelihood fashion-mnist --ais --levels 500 --json\n"
      "p is the density of noised data: docs/likelihood.md says what can be compared with what.");
  add_run_argument(*command, a->run);
  scoring::LikelihoodOptions& o = a->options;
  command->add_option("--count", o.count, "test records, and training records")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  command->add_option("--fitted", o.fitted, "training records that the Gaussians are fitted on (default: all)")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  command->add_option("--sigma", o.sigma, "the noise level (default: the model's least)")->check(above_zero());
  command
      ->add_option("--integrated", o.integrated,
                   "training records that log Z is integrated over noise levels with; 0: it is not")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  add_annealing_options(*command, *a);
  command->add_option("--label", a->label,
                      "the density of this class, of data of this class (default: of none in particular)");
  command->add_option("--condition", a->condition, "NAME=VALUE,… of a model of numbers");
  add_seed_option(*command, a->seed, "0");
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("evaluate likelihood", [&] { evaluate_likelihood(*a); }); });
}

}  // namespace igebm::tools
