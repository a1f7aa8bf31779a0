#include "igebm/classification/robustness.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <list>
#include <nlohmann/json.hpp>
#include <string_view>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"
#include "igebm/model/shipped.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

using classification::Robustness;
using scoring::Interval;

struct RobustnessArguments {
  std::string run, norm = "linf", through = "identity", box = "8/255", weights = "average", device;
  std::vector<std::string> set, attacks = {"pgd", "apgd"}, eps, transfer;
  classification::RobustnessOptions options;
  std::int64_t seed = -1;
  bool best = false, json = false;
  std::vector<std::string> given;  ///< options that the user gave
  bool has(std::string_view option) const { return std::ranges::find(given, option) != given.end(); }
  /// Changes of another model are made by pgd, too.
  bool runs(std::string_view attack) const {
    return std::ranges::find(attacks, attack) != attacks.end() || (attack == "pgd" && !transfer.empty());
  }
};

nlohmann::ordered_json json_of_eps(const classification::EpsResult& at) {
  nlohmann::ordered_json attacks = nlohmann::ordered_json::array();
  for (const auto& a : at.attacks) {
    nlohmann::ordered_json one = {{"attack", name_of(a.attack)}};
    if (!a.source.empty()) one["source"] = a.source;
    one["accuracy"] = interval_json(a.accuracy);
    one["gradients"] = a.gradients, one["evaluations"] = a.evaluations, one["seconds"] = a.seconds;
    attacks.push_back(one);
  }
  return {{"eps", at.eps}, {"accuracy", interval_json(at.accuracy)}, {"attacks", attacks}};
}

std::vector<double> numbers_of(const at::Tensor& t) {
  return t.defined() ? std::vector<double>(t.data_ptr<double>(), t.data_ptr<double>() + t.numel())
                     : std::vector<double>();
}

nlohmann::ordered_json attack_settings_json(const classification::AttackOptions& o) {
  nlohmann::ordered_json json = {{"steps", o.steps},
                                 {"restarts", o.restarts},
                                 {"queries", o.queries},
                                 {"all_classes_every", o.all_classes_every},
                                 {"class_margin", o.class_margin}};
  json["step_size"] = o.step_size > 0 ? nlohmann::ordered_json(o.step_size) : nlohmann::ordered_json();
  return json;
}

nlohmann::ordered_json robustness_json(const RobustnessArguments& a, const Robustness& r) {
  nlohmann::ordered_json json = {{"model", a.run},
                                 {"count", r.count},
                                 {"fitted_on", {{"pictures", r.fitted}, {"count", r.fitted_count}}},
                                 {"weights", numbers_of(r.calibration.weights.contiguous())},
                                 {"offsets", numbers_of(r.calibration.bias)},
                                 {"sigmas", r.sigmas},
                                 {"draws", r.draws},
                                 {"seed", r.seed},
                                 {"refine", a.options.refine.steps},
                                 {"accuracy", interval_json(r.accuracy)},
                                 {"calibration_error", r.calibration_error},
                                 {"cross_entropy", r.cross_entropy},
                                 {"seconds", r.seconds}};
  if (const auto& refine = a.options.refine; refine.steps > 0)
    json["refine_box"] = refine.box, json["refine_step"] = r.refine_step, json["refine_noise"] = refine.noise;
  if (!r.eps.empty()) {
    json["norm"] = a.norm;
    json["attack_settings"] = attack_settings_json(a.options.attack);
    if (a.options.refine.steps > 0) json["through"] = a.through, json["noises"] = a.options.refine.chains;
    json["eps"] = nlohmann::ordered_json::array();
    for (const auto& at : r.eps) json["eps"].push_back(json_of_eps(at));
    json["warnings"] = r.warnings;
  }
  return json;
}

std::string percent(const Interval& i) {
  return fmt::format("{:>6.2f} % ({:.2f} to {:.2f})", 100 * i.value, 100 * i.low, 100 * i.high);
}

/// What is fitted on training pictures.
std::string what_is_fitted(const RobustnessArguments& a, const Robustness& r) {
  if (a.options.classifier != nullptr) return "a temperature";
  return r.sigmas.size() > 1 ? "a weight for each level and an offset for each class"
                             : "a temperature and an offset for each class";
}

std::string in_words(const RobustnessArguments& a) {
  const classification::AttackOptions& o = a.options.attack;
  std::vector<std::string> words;
  const bool pgd = a.runs("pgd");
  if (pgd || a.runs("apgd"))
    words.push_back(fmt::format("{} steps, {} restart{}", o.steps, o.restarts, o.restarts == 1 ? "" : "s"));
  if (pgd)
    words.push_back("pgd's step size " + (o.step_size > 0 ? fmt::format("{:g}", o.step_size) : "2.5 eps / steps"));
  if (a.runs("square")) words.push_back(fmt::format("square {} queries", o.queries));
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string energies_in_words(const Robustness& r) {
  if (r.sigmas.empty()) return "";
  return fmt::format("energies at noise {:.3g} of {}, ", fmt::join(r.sigmas, " + "),
                     r.draws == 0 ? "pictures as they are" : fmt::format("{} noisy copies", r.draws));
}

void print_robustness_text(const RobustnessArguments& a, const Robustness& r) {
  fmt::print("{}: {} test pictures; {}{} fitted on {} pictures {}, seed {}\n", a.run, r.count, energies_in_words(r),
             what_is_fitted(a, r), r.fitted_count, r.fitted, r.seed);
  if (const auto& refine = a.options.refine; refine.steps > 0)
    fmt::print("{} Langevin steps beforehand, size {:.3g}, noise {:.3g}, within {:.3g} of each pixel{}\n", refine.steps,
               r.refine_step, refine.noise, refine.box,
               r.eps.empty() ? "" : fmt::format("; attacks see them: {}, {} noises", a.through, refine.chains));
  if (!r.eps.empty()) fmt::print("attacks: {}\n", in_words(a));
  fmt::print("{:<18}{}\n", "accuracy", percent(r.accuracy));
  fmt::print("{:<18}{:>6.4f}\n{:<18}{:>6.4f} nats\n", "calibration error", r.calibration_error, "cross entropy",
             r.cross_entropy);
  for (const auto& at : r.eps) {
    fmt::print("{}, eps {:.4g}\n", a.norm, at.eps);
    for (const auto& one : at.attacks)
      fmt::print("  {:<16}{}   {} gradients, {} evaluations, {}\n",
                 one.source.empty() ? name_of(one.attack) : fmt::format("by {}", one.source), percent(one.accuracy),
                 one.gradients, one.evaluations, duration(one.seconds));
    if (at.attacks.size() > 1) fmt::print("  {:<16}{}\n", "all of these", percent(at.accuracy));
  }
  fmt::print("in brackets, 95 % intervals (Wilson)\n");
  for (const std::string& warning : r.warnings) fmt::print("warning: {}\n", warning);
}

/// "8/255" or "0.3".
double radius_of(const char* option, const std::string& text) {
  const auto slash = text.find('/');
  const auto above = io::number_of(text.substr(0, slash));
  const auto below = slash == std::string::npos ? std::optional(1.0) : io::number_of(text.substr(slash + 1));
  if (!above || !below || !(*below > 0) || !(*above >= 0))
    throw UserError(fmt::format("{}: expected a number from 0, such as 0.3 or 8/255, got {}", option, text));
  return *above / *below;
}

model::OpenOptions open_options(const RobustnessArguments& a) {
  return {.weights = weights_of(a.weights), .best = a.best, .device = a.device, .precision = engine::Precision::f32};
}

/// The network of a model that is a classifier, which is asked in place of energies.
std::optional<model::NetworkFile> classifier_of(const model::Model& model, const std::string& run,
                                                const RobustnessArguments& a) {
  if (model.graph().outputs == 0) return {};
  const auto path = model::find_model(run);
  return model::load_network(a.best ? model::find_best(model::run_of(path)) : path, weights_of(a.weights));
}

struct Opened {
  model::Model model;
  std::optional<model::NetworkFile> classifier;
  bool takes_levels() const { return !classifier && model.condition_spec().noise.has_value(); }
};

/// Options that would do nothing.
void check_refine_given(const RobustnessArguments& a) {
  if (a.options.refine.steps > 0) return;
  for (const char* option : {"--refine-box", "--refine-step", "--refine-noise", "--through", "--noises"}) {
    if (a.has(option)) throw UserError(fmt::format("{}: expected with --refine, which is not given", option));
  }
}

void check_given(const RobustnessArguments& a) {
  check_refine_given(a);
  if (a.has("--levels") && a.has("--sigma")) throw UserError("--levels, --sigma: expected one of them");
  const auto refuse = [&](const char* option, bool used, const char* by) {
    if (a.has(option) && !used) throw UserError(fmt::format("{}: expected with --attack {}", option, by));
  };
  refuse("--step-size", a.runs("pgd"), "pgd");
  refuse("--queries", a.runs("square"), "square");
  for (const char* option : {"--steps", "--restarts", "--all-classes-every"})
    refuse(option, a.runs("pgd") || a.runs("apgd"), "pgd or apgd");
}

void evaluate_robustness(RobustnessArguments& a) {
  classification::RobustnessOptions& o = a.options;
  for (const std::string& eps : a.eps) o.eps.push_back(radius_of("--eps", eps));
  o.attack.norm = value_of<classification::Norm>(a.norm).value();
  o.attacks.clear();
  for (const std::string& name : a.attacks) o.attacks.push_back(value_of<classification::Attack>(name).value());
  if (a.seed >= 0) o.seed = static_cast<std::uint64_t>(a.seed);
  o.refine.box = radius_of("--refine-box", a.box);
  o.refine.through = value_of<classification::Through>(a.through).value();
  check(o);
  check_given(a);
  const model::Model model = open_model(a.run, open_options(a), a.set);
  const auto classifier = classifier_of(model, a.run, a);
  if (classifier) o.classifier = &*classifier;
  std::list<Opened> sources;
  const auto path_of = [](const std::string& run) { return std::filesystem::canonical(model::find_model(run)); };
  for (const std::string& run : a.transfer) {
    if (path_of(run) == path_of(a.run))
      throw UserError(fmt::format("--transfer {}: expected another model than the one that is asked", run));
    Opened& other = sources.emplace_back(Opened{open_model(run, open_options(a), {}), {}});
    other.classifier = classifier_of(other.model, run, a);
    o.sources.push_back({run, &other.model, other.classifier ? &*other.classifier : nullptr});
  }
  const bool takes_levels = !classifier && model.condition_spec().noise.has_value();
  for (const char* option : {"--levels", "--draws"}) {
    if (a.has(option) && !takes_levels && std::ranges::none_of(sources, &Opened::takes_levels))
      throw UserError(fmt::format("{}: {} takes no noise levels", option, a.run));
  }
  const auto progress = make_progress("interrupted, nothing is written", a.json);
  catch_interrupts();
  const Robustness r = classification::robustness(model, o, *progress);
  const nlohmann::ordered_json json = robustness_json(a, r);
  keep_evaluation(r.eps.empty() ? "classification" : "robustness", {a.run, model.step(), r.seed}, json);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
  } else {
    print_robustness_text(a, r);
  }
}

/// What `command` does, once it is read.
void on_command(CLI::App* command, const char* name, const std::shared_ptr<RobustnessArguments>& a) {
  command->callback([command, name, a] {
    for (const CLI::Option* option : command->get_options()) {
      if (option->count() > 0) a->given.push_back(option->get_name());
    }
    as_command(name, [&] { evaluate_robustness(*a); });
  });
}

/// Those of both commands.
void add_classification_options(CLI::App& command, RobustnessArguments& a) {
  add_run_argument(command, a.run);
  classification::RobustnessOptions& o = a.options;
  command.add_option("--count", o.count, "test pictures, chosen at random")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000000}));
  command
      .add_option("--usual", o.fitted,
                  "training pictures, held out if there are such, by which the noise level is chosen, and temperature "
                  "and classes' offsets are fitted")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{20}, std::int64_t{10000000}));
  command.add_option("--levels", o.levels, "noise levels among which one is chosen, of a model that takes them")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command
      .add_option("--sigma", o.sigmas,
                  "a noise level in their place; of several, given often, the energies are added with fitted weights")
      ->take_all()
      ->allow_extra_args(false);
  command
      .add_option("--draws", o.draws,
                  "copies of a picture with that level's noise, whose energies are averaged; the noise is the same for "
                  "all pictures and classes, and known to attacks. 0: the picture as it is (default: 0 or 2, whichever "
                  "tells labels of training pictures better)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{100000}));
  command
      .add_option("--refine", o.refine.steps,
                  "Langevin steps that a picture takes on the energy before its class is told; attacks see them")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{10000}));
  command.add_option("--refine-box", a.box, "how far a pixel may go by them")->capture_default_str();
  command
      .add_option("--refine-step", o.refine.step_size,
                  "their size: x - size / 2 dE/dx, of pixels (default: a tenth of the noise level's variance)")
      ->check(above_zero());
  command.add_option("--refine-noise", o.refine.noise, "their noise, of pixels")
      ->capture_default_str()
      ->check(from_zero());
}

void add_model_options(CLI::App& command, RobustnessArguments& a) {
  add_seed_option(command, a.seed, "0");
  add_best_option(command, a.best);
  add_weights_option(command, a.weights);
  add_recipe_options(command, a.set);
  add_device_option(command, a.device);
  add_threads_option(command);
  command.add_flag("--json", a.json, "print one JSON object");
}

}  // namespace

void add_evaluate_classification(CLI::App& app) {
  auto* command = app.add_subcommand("classification", "the class by least energy: accuracy, calibration");
  auto a = std::make_shared<RobustnessArguments>();
  command->footer(
      "Example:\n"
      "  igebm evaluate classification mnist --count 10000\n"
      "The class of an energy's model is that of the least energy, by a temperature and one offset a class that are "
      "fitted on training pictures; of a classifier, of the greatest logit, by a fitted temperature.");
  add_classification_options(*command, *a);
  add_model_options(*command, *a);
  on_command(command, "evaluate classification", a);
}

void add_evaluate_robustness(CLI::App& app) {
  auto* command = app.add_subcommand("robustness", "what accuracy is left where pictures are changed by an attack");
  auto a = std::make_shared<RobustnessArguments>();
  a->options.count = 100;
  a->options.refine.chains = 20;
  command->footer(
      "Examples:\n"
      "  igebm evaluate robustness mnist --eps .1 --eps .3 --count 50\n"
      "  igebm evaluate robustness cifar10 --norm l2 --eps .5 --attack apgd --restarts 1 --json\n"
      "  igebm evaluate robustness mnist --eps .1 --transfer runs/classifier-mnist\n"
      "All attacks see the gradients of all classes' energies, but for square, which sees their values alone.");
  add_classification_options(*command, *a);
  classification::AttackOptions& o = a->options.attack;
  command
      ->add_option("--eps", a->eps,
                   "the greatest change, where black is 0 and white 1; may be a ratio (8/255), and given often")
      ->required()
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--norm", a->norm, "what is bounded: each pixel's change (linf) or their root of squares (l2)")
      ->capture_default_str()
      ->check(CLI::IsMember(all_names<classification::Norm>()));
  command
      ->add_option("--attack", a->attacks,
                   fmt::format("one of {}; may be given often", fmt::join(all_names<classification::Attack>(), ", ")))
      ->capture_default_str()
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::IsMember(all_names<classification::Attack>()));
  command
      ->add_option(
          "--transfer", a->transfer,
          "another model of the same classes, may be given often: where pgd against it ends is tried on this one")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--steps", o.steps, "of pgd and apgd, of each restart")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--restarts", o.restarts, "random starts of pgd and apgd")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--step-size", o.step_size, "of pgd (default: 2.5 eps / steps)")->check(above_zero());
  command
      ->add_option("--all-classes-every", o.all_classes_every,
                   "so many steps of pgd and apgd; between, classes that are far from likely are not asked (1: always)")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--queries", o.queries, "of square")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000000}));
  command
      ->add_option("--through", a->through,
                   "how attacks take derivatives of --refine: identity (BPDA: as if it did nothing) or steps (exactly)")
      ->capture_default_str()
      ->check(CLI::IsMember(all_names<classification::Through>()));
  command
      ->add_option("--noises", a->options.refine.chains,
                   "of --refine, whose logits are averaged, and attacks' gradients")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  add_model_options(*command, *a);
  on_command(command, "evaluate robustness", a);
}

}  // namespace igebm::tools
