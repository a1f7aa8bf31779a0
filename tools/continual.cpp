#include "igebm/classification/continual.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/classification/class_densities.h"
#include "igebm/classification/class_energies.h"
#include "igebm/classification/oriented_energies.h"
#include "igebm/classification/task_learner.h"
#include "igebm/data/data.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/model/files.h"
#include "igebm/training/recipe.h"
#include "igebm/training/trainer.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;
using classification::Continual;

constexpr auto gaussian = "Gaussian", analysers = "analysers", class_energies = "class energies",
               class_networks = "class networks";

struct ContinualArguments {
  std::string recipe, out;
  std::vector<std::string> set;
  classification::ClassEnergyOptions energies = {};
  classification::AnalyserOptions analysers = {};
  std::string setting = "classes", split = "test";
  std::vector<std::string> only;  ///< rows; none: all
  classification::LearnerOptions learners = {};
  std::int64_t per_task = 2, permutations = 10, seeds = 1, count = 0;
  bool permuted() const { return setting == "permuted"; }
  data::Split judged() const { return split == "test" ? data::Split::test : data::Split::validation; }
  bool no_networks = false, json = false;
  bool permutations_given = false;
};

/// A way to learn, and what came of it with each seed.
struct Method {
  std::string name, about;
  bool baseline = false;
  std::int64_t numbers = 0;  ///< that it keeps
  std::vector<Continual> seeds = {};

  std::pair<double, double> over_seeds(double (*figure)(const Continual&)) const {
    const auto n = static_cast<double>(seeds.size());
    double sum = 0, squares = 0;
    for (const Continual& c : seeds) sum += figure(c);
    for (const Continual& c : seeds) squares += std::pow(figure(c) - sum / n, 2);
    return {sum / n, seeds.size() > 1 ? std::sqrt(squares / (n - 1)) : 0};
  }
};

double final_accuracy(const Continual& c) { return c.overall.back().value; }
double mean_forgotten(const Continual& c) { return c.mean_forgotten(); }

/// Tells of one training among many.
class OneOfMany : public Observer {
 public:
  OneOfMany(Observer& observer, std::string stage) : observer_(observer), stage_(std::move(stage)) {}
  void progress(std::string_view /*stage*/, std::int64_t done, std::int64_t total) override {
    observer_.progress(stage_, done, total);
  }

 private:
  Observer& observer_;
  std::string stage_;
};

class ContinualWork {
 public:
  ContinualWork(const ContinualArguments& arguments, Observer& observer)
      : a_(arguments),
        observer_(observer),
        recipe_(training::read_recipe(a_.recipe, a_.set)),
        train_(data::load(recipe_.data, data::Split::train, 0)) {
    if (!train_.labels.defined()) throw UserError(fmt::format("{}: its data have no labels", recipe_.data.name));
    if (recipe_.phases.size() != 1)
      throw UserError(fmt::format("{}: expected one phase, got {}", a_.recipe, recipe_.phases.size()));
    if (!recipe_.data.without.empty())
      throw UserError("data.without: each class is trained without the others; leave it out");
    // Before anything is trained.
    check_rows();
    if (a_.permutations_given && !a_.permuted()) throw UserError("--permutations: expected with --setting permuted");
    if (recipe_.network.noise_features == 0)
      throw UserError("network.noise_features: energies of classes compare by noise levels; expected above 0, got 0");
    if (recipe_.network.labels || !recipe_.network.conditions.empty())
      throw UserError("network.labels, network.conditions: each network sees one class; leave them out");
    learned_ = a_.permuted() ? classification::permuted_tasks(a_.permutations, train_.all()[0].numel(), classes())
                             : classification::split_tasks(classes(), a_.per_task);
    for (const auto& task : learned_) tasks_.push_back(task.classes);
    for (std::int64_t y = 0; y < classes(); ++y) recipe_of(y, 0);
    test_ = judged(0);
    if (test_.size() == 0) throw UserError("--split validation: data.validation holds out no records");
  }

  /// Seeds in order, from 0.
  void learn(std::int64_t seed) {
    // Each seed holds out records of its own, as training does with it: none that is learned from may be judged by.
    if (seed > 0) {
      train_ = data::load(recipe_.data, data::Split::train, static_cast<std::uint64_t>(seed));
      test_ = judged(seed);
    }
    judged_counts_.push_back(test_.size());
    if (!a_.permuted()) densities(seed);
    if (!a_.permuted() && pictures() && wanted(class_energies)) quadratic(seed);
    for (const auto& kind : classification::learner_kinds())
      if (wanted(kind.name)) learner(kind, seed);
    if (!a_.permuted() && !a_.no_networks && wanted(class_networks)) energies(seed);
  }
  const std::vector<Method>& methods() const { return methods_; }
  const classification::Tasks& tasks() const { return tasks_; }
  /// Of each seed, how many records are told apart.
  const std::vector<std::int64_t>& judged_counts() const { return judged_counts_; }
  const training::Recipe& recipe() const { return recipe_; }
  std::int64_t classes() const { return train_.classes; }
  /// Those of the classes' networks.
  const std::vector<fs::path>& runs() const { return runs_; }

 private:
  data::Dataset judged(std::int64_t seed) const {
    data::Dataset set = data::load(recipe_.data, a_.judged(), static_cast<std::uint64_t>(seed));
    if (a_.count == 0 || a_.count >= set.size()) return set;
    const at::Tensor rows = evaluation::choose(set.size(), a_.count, 0, 1);
    set.x = set.take(rows), set.labels = set.labels.index_select(0, rows);
    return set;
  }

  /// The rows that there are with these data and options.
  std::vector<std::string> rows_there() const {
    std::vector<std::string> rows;
    if (!a_.permuted()) {
      rows = {gaussian, analysers};
      if (pictures()) rows.emplace_back(class_energies);
      if (!a_.no_networks) rows.emplace_back(class_networks);
    }
    for (const auto& kind : classification::learner_kinds()) rows.emplace_back(kind.name);
    return rows;
  }
  void check_rows() const {
    const std::vector<std::string> there = rows_there();
    for (const std::string& row : a_.only) {
      if (std::ranges::find(there, row) == there.end())
        throw UserError(fmt::format("--only: there is no row \"{}\" with these data and options; expected one of {}",
                                    row, fmt::join(there, ", ")));
    }
  }

  bool pictures() const { return train_.shape().size() == 3; }
  bool wanted(std::string_view row) const {
    return a_.only.empty() || std::find(a_.only.begin(), a_.only.end(), row) != a_.only.end();
  }

  /// One pass over one class's records.
  training::Recipe recipe_of(std::int64_t y, std::int64_t seed) const {
    training::Recipe r = recipe_;
    r.seed = seed;
    r.data.without = train_.names_of_classes();
    r.data.without.erase(r.data.without.begin() + y);
    training::PhaseOptions& phase = r.phases[0];
    const std::int64_t batches = train_.labels.eq(y).sum().item<std::int64_t>() / phase.batch;
    if (batches < 1)
      throw UserError(fmt::format("class {} has fewer records than phase.{}.batch, {}", y, phase.name, phase.batch));
    phase.steps = batches * phase.repeats;
    return r;
  }

  fs::path folder_of(std::int64_t y, std::int64_t seed) const {
    return fs::path(a_.out) / fmt::format("seed-{}", seed) / fmt::format("class-{}", y);
  }

  /// Trains, goes on with, or leaves as it is.
  model::Model trained(std::int64_t y, std::int64_t seed) {
    const fs::path folder = runs_.emplace_back(folder_of(y, seed));
    OneOfMany told(observer_, fmt::format("seed {}, class {} of {}", seed, y + 1, classes()));
    auto trainer = fs::exists(folder / "checkpoints") ? training::Trainer::resume(folder, {}, told)
                                                      : training::Trainer::begin(recipe_of(y, seed), folder, told);
    if (!trainer.train(interrupted, interrupted))
      throw UserError("interrupted: what was trained is kept, the same command goes on");
    return model::Model::open(folder, {.precision = engine::Precision::f32});
  }

  Method& method(const std::string& name, const std::string& about, bool baseline) {
    for (Method& m : methods_)
      if (m.name == name) return m;
    return methods_.emplace_back(Method{name, about, baseline});
  }

  /// scores: after each task, or of all tasks at once (classification::continual).
  void add(Method& m, std::int64_t numbers, const std::vector<at::Tensor>& scores) const {
    m.numbers = numbers;
    m.seeds.push_back(classification::continual(scores, test_.labels, tasks_));
  }

  void densities(std::int64_t seed) {
    const auto fitted = [&](const char* name, const char* about, bool baseline, const auto& fit) {
      if (!wanted(name)) return;
      observer_.progress(fmt::format("seed {}: {}", seed, name), 0, 1);
      const std::unique_ptr<classification::ClassDensities> one = fit();
      add(method(name, about, baseline), one->numbers(), {one->of(test_.x)});
    };
    const at::Tensor &x = train_.all(), &labels = train_.labels;
    auto options = a_.analysers;
    options.seed = static_cast<std::uint64_t>(seed);
    fitted(gaussian, "a Gaussian for each class", true,
           [&] { return classification::gaussians(x, labels, classes()); });
    fitted(analysers, "a mixture of principal component analysers for each class; many passes", true,
           [&] { return classification::analysers(x, labels, classes(), options); });
  }

  void quadratic(std::int64_t seed) {
    classification::OrientedEnergies learned(classes());
    std::vector<at::Tensor> scores;
    for (const auto& task : tasks_) {
      observer_.progress(fmt::format("seed {}: {}", seed, class_energies), static_cast<std::int64_t>(scores.size()),
                         static_cast<std::int64_t>(tasks_.size()));
      const at::Tensor rows = classification::rows_of_classes(train_.labels, task);
      learned.learn(train_.take(rows), train_.labels.index_select(0, rows));
      scores.push_back(learned.log_densities(test_.all()));
    }
    add(method(class_energies, "a quadratic energy for each class, in oriented gradients", false), learned.numbers(),
        scores);
  }

  void learner(const classification::LearnerKind& kind, std::int64_t seed) {
    auto options = a_.learners;
    options.seed = static_cast<std::uint64_t>(seed);
    options.first = classification::rows_of_classes(train_.labels, learned_[0].classes).size(0) / 2;
    const auto one = kind.make(train_.all()[0].numel(), classes(), options, kind);
    const std::string stage = fmt::format("seed {}: {}", seed, kind.name);
    Method& m = method(std::string(kind.name), std::string(kind.about), kind.baseline);
    m.seeds.push_back(classification::learn_tasks(
        *one, {train_.all(), train_.labels}, {test_.all(), test_.labels}, learned_, options.batch.value_or(kind.batch),
        options.seed, [&](std::int64_t done, std::int64_t total) { observer_.progress(stage, done, total); }));
    m.numbers = one->numbers();
  }

  void energies(std::int64_t seed) {
    std::vector<at::Tensor> scores;
    std::int64_t numbers = 0;
    for (std::int64_t y = 0; y < classes(); ++y) {
      const model::Model model = trained(y, seed);
      auto options = a_.energies;
      options.seed = static_cast<std::uint64_t>(seed);
      const at::Tensor own = train_.take(train_.labels.eq(y).nonzero().squeeze(1));
      const classification::ClassEnergy energy(model, own, options);
      scores.push_back(energy
                           .log_densities(test_.x,
                                          [&](std::int64_t done, std::int64_t total) {
                                            observer_.progress(fmt::format("seed {}, class {}: test", seed, y + 1),
                                                               done, total);
                                          })
                           .mean(1));
      for (const auto& [_, t] : model::load_network(folder_of(y, seed)).parameters) numbers += t.numel();
      numbers += static_cast<std::int64_t>(energy.log_z().size());
    }
    add(method(class_networks, "a network's energy for each class, normalised by that class's records", false), numbers,
        {at::stack(scores, 1)});
  }

  const ContinualArguments& a_;
  Observer& observer_;
  training::Recipe recipe_;
  data::Dataset train_, test_;  ///< of the seed that is on
  std::vector<std::int64_t> judged_counts_;
  std::vector<classification::LearnedTask> learned_;
  classification::Tasks tasks_;  ///< their classes
  std::vector<Method> methods_;
  std::vector<fs::path> runs_;
};

nlohmann::ordered_json mean_json(const std::pair<double, double>& figure) {
  return {{"mean", figure.first}, {"deviation", figure.second}};
}

nlohmann::ordered_json of_seed(const Continual& c, std::int64_t judged) {
  nlohmann::ordered_json tasks = nlohmann::ordered_json::array(), overall = nlohmann::ordered_json::array();
  for (const auto& row : c.accuracy) {
    tasks.push_back(nlohmann::ordered_json::array());
    for (const auto& of_task : row) tasks.back().push_back(of_task.value);
  }
  for (const auto& after : c.overall) overall.push_back(interval_json(after));
  return {{"test", judged}, {"overall", overall}, {"tasks", tasks}, {"forgotten", c.forgotten}};
}

nlohmann::ordered_json continual_json(const ContinualArguments& a, const ContinualWork& work, double seconds) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Method& m : work.methods()) {
    nlohmann::ordered_json each = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < m.seeds.size(); ++i) each.push_back(of_seed(m.seeds[i], work.judged_counts()[i]));
    rows.push_back({{"name", m.name},
                    {"about", m.about},
                    {"baseline", m.baseline},
                    {"accuracy", mean_json(m.over_seeds(final_accuracy))},
                    {"forgetting", mean_json(m.over_seeds(mean_forgotten))},
                    {"numbers", m.numbers},
                    {"seeds", each}});
  }
  return {{"recipe", a.recipe},
          {"data", work.recipe().data.name},
          {"setting", a.setting},
          {"split", a.split},
          {"tasks", work.tasks()},
          {"test", work.judged_counts().front()},
          {"sigmas", a.energies.sigmas},
          {"seconds", seconds},
          {"rows", rows}};
}

void print_continual(const ContinualArguments& a, const ContinualWork& work) {
  const auto [least, most] = std::ranges::minmax(work.judged_counts());
  fmt::print("{}: {} classes in {} {}tasks, one pass, no replay, no task told; {} {} records, {} seed{}\n",
             work.recipe().data.name, work.classes(), work.tasks().size(), a.permuted() ? "permuted " : "",
             least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most), a.split, a.seeds,
             a.seeds > 1 ? "s" : "");
  fmt::print("{:<18}{:>22}{:>14}{:>16}\n", "", "accuracy, all classes", "forgotten", "numbers kept");
  for (const Method& m : work.methods()) {
    const auto [mean, deviation] = m.over_seeds(final_accuracy);
    const auto shown = a.seeds > 1
                           ? fmt::format("{:.2f} ± {:.2f} %", 100 * mean, 100 * deviation)
                           : fmt::format("{:.2f} ({:.2f} to {:.2f}) %", 100 * mean, 100 * m.seeds[0].overall.back().low,
                                         100 * m.seeds[0].overall.back().high);
    fmt::print("{:<18}{:>22}{:>12.2f} %{:>16}  {}\n", (m.baseline ? "* " : "") + m.name, shown,
               100 * m.over_seeds(mean_forgotten).first, m.numbers, m.about);
  }
  fmt::print(
      "* a baseline; forgotten: by how much earlier tasks' accuracy fell, which is also because there are more "
      "classes to tell apart\n");
}

void evaluate_continual(ContinualArguments& a) {
  if (a.out.empty()) a.out = "runs/" + fs::path(a.recipe).stem().string() + "-continual";
  for (const double sigma : a.energies.sigmas)
    if (!(sigma > 0 && std::isfinite(sigma)))
      throw UserError(fmt::format("--sigma: expected numbers above 0, got {}", sigma));
  const auto progress =
      make_progress("interrupted: networks of classes that are trained are kept, and the same command goes on", a.json);
  catch_interrupts();
  const double begun = now();
  ContinualWork work(a, *progress);
  for (std::int64_t seed = 0; seed < a.seeds; ++seed) work.learn(seed);
  const nlohmann::ordered_json told = continual_json(a, work, now() - begun);
  for (const fs::path& run : work.runs()) keep_evaluation("continual", {.model = run.string()}, told);
  if (a.json)
    fmt::print("{}\n", json_text(told));
  else
    print_continual(a, work);
}

std::vector<std::string> row_names() {
  std::vector<std::string> names = {gaussian, analysers, class_energies, class_networks};
  for (const auto& kind : classification::learner_kinds()) names.emplace_back(kind.name);
  return names;
}

}  // namespace

void add_evaluate_continual(CLI::App& app) {
  auto* command =
      app.add_subcommand("continual", "classes learned one task after another: what is still known at the end?");
  auto a = std::make_shared<ContinualArguments>();
  command->footer(
      "Example:\n"
      "  igebm evaluate continual recipes/mnist-classes.toml --seeds 5\n"
      "Trains an energy for each class, in one pass over its records alone. Finished ones are kept; the same command "
      "goes "
      "on where it was.");
  command->add_option("RECIPE", a->recipe, "what each class's energy is trained by, but for its steps")->required();
  command->add_flag("--no-networks", a->no_networks, "without a network for each class, whose training is long");
  command->add_option("--per-task", a->per_task, "classes that come at once")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}));
  command
      ->add_option(
          "--setting", a->setting,
          "classes: each task brings new ones; permuted: all classes, each task with an order of pixels of its "
          "own, for networks of one body")
      ->capture_default_str()
      ->check(CLI::IsMember({"classes", "permuted"}));
  command->add_option("--permutations", a->permutations, "tasks of that setting")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1000}));
  command->add_option("--only", a->only, "a row; may be given often (default: all)")
      ->check(CLI::IsMember(row_names()))
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--split", a->split, "what is told apart: test, or validation to choose settings by")
      ->capture_default_str()
      ->check(CLI::IsMember({"test", "validation"}));
  command->add_option("--hidden", a->learners.hidden, "units of a trained body")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--batch", a->learners.batch, "records a step of a trained body (default: each row's own)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--learning-rate", a->learners.learning_rate, "of trained bodies (default: each row's own)")
      ->check(number_in(0.0, 10.0));
  command->add_option("--strength", a->learners.strength, "that EWC and SI hold with (default: each row's own)")
      ->check(number_in(0.0, 1e12));
  command->add_option("--seeds", a->seeds, "how often, with seeds from 0 on")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command->add_option("--count", a->count, "test records, chosen at random (default: all)")
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{10000000}));
  command->add_option("--sigma", a->energies.sigmas, "a noise level at which energies are compared; may be given often")
      ->capture_default_str()
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--calibrated", a->energies.calibrated, "records of a class that its log Z is found with")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{10000000}));
  command->add_option("--parts", a->analysers.parts, "of the mixture that is a baseline")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command->add_option("--dimensions", a->analysers.dimensions, "of each of those")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}));
  command->add_option("--features", a->learners.features, "of the shared and of the early body")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{20000}));
  command->add_option("--out", a->out, "the trainings' folder (default: runs/<name of the recipe>-continual)");
  add_recipe_options(*command, a->set);
  add_threads_option(*command, &a->set);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a, command] {
    a->permutations_given = command->count("--permutations") > 0;
    as_command("evaluate continual", [&] { evaluate_continual(*a); });
  });
}

}  // namespace igebm::tools
