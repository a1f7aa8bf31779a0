#include "igebm/report/run_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/lock.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe_keys.h"
#include "igebm/model/conditions.h"
#include "igebm/model/files.h"
#include "igebm/nn/weights.h"
#include "igebm/sampling/budget.h"
#include "igebm/training/checkpoint.h"
#include "igebm/training/recipe.h"
#include "igebm/training/record.h"

namespace igebm::report {
namespace {

namespace fs = std::filesystem;

Series thinned(std::string name, const std::vector<std::pair<std::int64_t, double>>& points, std::int64_t most) {
  Series out{.name = std::move(name)};
  const auto count = static_cast<std::int64_t>(points.size());
  out.each = std::max<std::int64_t>(1, (count + most - 1) / most);
  for (std::int64_t begin = 0; begin < count; begin += out.each) {
    const std::int64_t end = std::min(count, begin + out.each);
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += points[static_cast<std::size_t>(i)].second;
    out.points.emplace_back(points[static_cast<std::size_t>(end - 1)].first, sum / static_cast<double>(end - begin));
  }
  return out;
}

/// The gap of energies, where there are both.
void add_gap(std::map<std::string, std::vector<std::pair<std::int64_t, double>>>& figures) {
  const auto data = figures.find("energy/data"), samples = figures.find("energy/samples");
  if (data == figures.end() || samples == figures.end()) return;
  std::map<std::int64_t, double> of_data(data->second.begin(), data->second.end());
  std::vector<std::pair<std::int64_t, double>> gap;
  for (const auto& [step, energy] : samples->second) {
    if (of_data.contains(step)) gap.emplace_back(step, energy - of_data[step]);
  }
  figures["energy/samples - data"] = std::move(gap);
}

/// A recipe of defaults that has the sections of `recipe`.
training::Recipe usual_for(const training::Recipe& recipe) {
  training::Recipe usual;
  usual.network.kind = recipe.network.kind;
  usual.network.noise_features = std::min<std::int64_t>(recipe.network.noise_features, 2);
  return usual;
}

std::vector<Difference> differences_of(training::Recipe recipe) {
  training::Recipe plain = usual_for(recipe);
  std::map<std::string, std::string> usual;
  for (const io::KeySection& s : io::list_keys([&](io::Fields& f) { describe(f, plain); })) {
    for (const io::Key& k : s.keys) usual[s.name + "." + k.name] = k.usual;
  }
  std::set<std::string> objectives;  // an objective that a phase lacks is described, too
  for (const auto& phase : recipe.phases) {
    for (const auto& term : phase.objectives) objectives.insert("phase." + phase.name + "." + term->section());
  }
  std::vector<Difference> found;
  for (const io::KeySection& s : io::list_keys([&](io::Fields& f) { describe(f, recipe); })) {
    std::string same = s.name;  // as the default recipe calls it
    for (const auto& phase : recipe.phases) {
      const std::string prefix = "phase." + phase.name;
      if (s.name == prefix || s.name.starts_with(prefix + ".")) same = "phase.train" + s.name.substr(prefix.size());
    }
    const bool of_objective = same.starts_with("phase.train.") && same != "phase.train.optimizer";
    if (of_objective && !std::ranges::any_of(objectives, [&](const std::string& o) {
          return s.name == o || s.name.starts_with(o + ".");
        }))
      continue;
    for (const io::Key& k : s.keys) {
      const auto before = usual.find(same + "." + k.name);
      const std::string was = before == usual.end() ? "" : before->second;
      if (k.usual != was) found.push_back({s.name + "." + k.name, k.usual, was, k.doc});
    }
  }
  return found;
}

/// What is where in pictures of samples. The last one has 100, ten in a row: of ten classes each has its column.
void tell_places(const model::NetworkFile& network, RunFacts& into) {
  if (network.graph.input_shape.size() == 1) {
    into.caption = "From left to right: the density exp(-E), samples, data.";
    return;
  }
  const model::ConditionSpec spec = model::condition_spec(network.graph, network.metadata);
  if (spec.classes == 0) return;
  std::vector<std::string> names = spec.names_of_classes();
  into.caption = fmt::format("Classes in turn, row by row: {}.", fmt::join(names, ", "));
  if (names.size() == 10) into.columns = std::move(names);
}

/// Pictures of steps, the first and last and what lies evenly between, within the bytes.
void read_pictures(const fs::path& folder, std::int64_t bytes, RunFacts& into) {
  std::map<std::int64_t, fs::path> all;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string stem = entry.path().stem();
    if (entry.path().extension() != ".png" || stem.empty() ||
        !std::ranges::all_of(stem, [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    all[std::stoll(stem)] = entry.path();
  }
  if (all.empty()) return;
  const std::vector<std::pair<std::int64_t, fs::path>> listed(all.begin(), all.end());
  const auto count = static_cast<std::int64_t>(listed.size());
  const auto each = static_cast<std::int64_t>(std::max<std::uintmax_t>(1, fs::file_size(listed.back().second, none)));
  const std::int64_t most = std::clamp<std::int64_t>(bytes / each, 1, count);
  for (std::int64_t i = 0; i < most; ++i) {
    const auto at = most == 1 ? count - 1 : i * (count - 1) / (most - 1);
    const auto& [step, path] = listed[static_cast<std::size_t>(at)];
    into.pictures.emplace_back(step, io::read_file(path));
  }
}

/// The last samples: what made them, what is where in them, and what their chains went through.
void read_end(const fs::path& run, RunFacts& into) {
  if (!fs::exists(run / "samples.png")) return;
  into.last_picture = io::read_file(run / "samples.png");
  const io::Texts texts = io::png_texts(run / "samples.png");
  if (const auto said = texts.find("provenance"); said != texts.end()) {
    const auto json = nlohmann::json::parse(said->second, nullptr, false);
    if (json.is_object() && json.contains("program"))
      into.facts.emplace_back(
          "trained by",
          json.value("program", "") + (json.contains("commit") ? ", commit " + json.value("commit", "") : ""));
  }
  if (!fs::exists(run / "samples.json")) return;
  const auto json = nlohmann::ordered_json::parse(io::read_file(run / "samples.json"), nullptr, false);
  if (!json.is_object()) return;
  for (const auto& [name, values] : json.items()) {
    if (!values.is_array()) continue;
    Series series{.name = name};
    std::int64_t step = 0;
    for (const auto& value : values) {
      ++step;
      if (value.is_number()) series.points.emplace_back(step, value.get<double>());
    }
    into.trace.push_back(std::move(series));
  }
}

/// Of the files: when it was begun, and when it was last written to.
std::string dates_of(const fs::path& run) {
  const std::string begun = minute_of(run / "recipe.toml"), last = minute_of(run / "metrics.jsonl");
  return begun + (last.empty() || last == begun ? "" : " to " + last);
}

void read_checkpoint(const fs::path& run, const training::Recipe& recipe, RunFacts& into) {
  const auto fact = [&](const std::string& what, const std::string& how) { into.facts.emplace_back(what, how); };
  const training::Checkpoint newest = training::load_newest(run);
  into.step = newest.step, into.steps = recipe.total_steps();
  fact("training", fmt::format("{} of {} steps{}", newest.step, recipe.total_steps(),
                               newest.step == recipe.total_steps() ? ", finished"
                               : into.in_training                  ? ", under way"
                                                                   : ", to be gone on with"));
  fact("network", nn::in_words(newest.network.graph));
  tell_places(newest.network, into);
  fact("engine", fmt::format("{}, {} thread{}", newest.engine, newest.threads, newest.threads == 1 ? "" : "s"));
  if (!newest.machine.empty()) fact("machine", newest.machine);
  if (newest.best) {
    const training::Best& best = *newest.best;
    fact("best checkpoint", fmt::format("step {}: {} {:.4g} of {} samples", best.step,
                                        best.metric.empty() ? recipe.evaluate.metric : best.metric, best.value,
                                        best.count > 0 ? best.count : recipe.evaluate.count));
  }
  for (const auto& r : training::read_rollbacks(run))
    into.events.push_back({r.step, fmt::format("{}; back to step {}", r.reason, r.to)});
  if (const auto end = training::read_gave_up(run)) into.events.push_back({end->step, end->reason + "; gave up"});
  fact("watchdog", into.events.empty() ? "nothing happened" : fmt::format("{} events, below", into.events.size()));
}

}  // namespace

RunFacts read_run(const fs::path& run, const ReadOptions& options) {
  if (!fs::exists(run / "recipe.toml"))
    throw UserError(fmt::format("{}: expected a run's folder, which holds recipe.toml", run.string()));
  RunFacts out;
  out.folder = fs::absolute(run).lexically_normal();
  out.name = out.folder.filename().empty() ? out.folder.parent_path().filename() : out.folder.filename();
  out.in_training = io::Lock::is_held(run);
  out.recipe = io::read_file(run / "recipe.toml");
  const training::Recipe recipe = training::read_recipe((run / "recipe.toml").string(), {});
  const auto fact = [&](const std::string& what, const std::string& how) { out.facts.emplace_back(what, how); };
  if (fs::exists(run / "metrics.jsonl")) fact("when", dates_of(run));
  fact("data", recipe.data.path.empty() ? recipe.data.name : fmt::format("{}, {}", recipe.data.name, recipe.data.path));
  std::int64_t begin = 0;
  for (const auto& phase : recipe.phases) {
    fact("phase " + phase.name, training::in_words(phase));
    out.phases.push_back({begin, phase.name});
    begin += phase.steps;
  }
  if (fs::exists(run / "network.safetensors")) {
    const model::NetworkFile network = model::load_network(run);
    fact("network", nn::in_words(network.graph));
    tell_places(network, out);
    if (fs::exists(run / "README.md")) out.card = io::read_file(run / "README.md");
  } else if (!model::list_checkpoints(run).empty()) {
    read_checkpoint(run, recipe, out);
  } else {
    fact("training", "no checkpoint yet");
  }
  if (recipe.network.kind != "classifier")
    fact("sampling", sampling::describe_steps(recipe.sampling, recipe.network.noise_features > 0));
  fact("seed", std::to_string(recipe.seed));
  out.differences = differences_of(recipe);
  auto figures = training::read_metrics(run);
  add_gap(figures);
  for (const auto& [name, points] : figures) {
    if (!points.empty()) out.series.push_back(thinned(name, points, options.points));
  }
  read_pictures(run / "samples", options.picture_bytes, out);
  read_end(run, out);
  out.evaluations = read_evaluations(run);
  return out;
}

}  // namespace igebm::report
