#include "igebm/training/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/evaluation/metrics.h"
#include "igebm/io/ranges.h"
#include "igebm/sampling/describe.h"

namespace igebm::training {
namespace {

using io::Fields;
using io::Range;

using namespace io::ranges;  // NOLINT(google-build-using-namespace)
const Range limit{0, infinity, true, true};

/// What the objectives of a phase have wrong, for such a network.
void check_objectives(Fields& f, const Terms& objectives, Network network) {
  if (objectives.empty()) {
    std::vector<std::string> fitting;
    for (const auto& term : known_objectives()) {
      if (term->trains() == network) fitting.push_back(term->section());
    }
    f.problem("steps", fmt::format("a phase needs a section of an objective: {}, for {}", fmt::join(fitting, " or "),
                                   describe_network(network)));
  }
  for (const auto& term : objectives) {
    if (term->trains() != network)
      f.problem(term->section().c_str(), fmt::format("this section and {} go together, but network is {}",
                                                     describe_network(term->trains()), describe_network(network)));
  }
}

void describe(Fields& f, PhaseOptions& o, Network network) {
  f.field("steps", o.steps, count_from_one, "training steps");
  f.field("batch", o.batch, count_from_one, "data a step; contrastive divergence takes as many chains");
  f.field("repeats", o.repeats, count_from_one,
          "steps one after another that take the same records, each with noise of its own: more of a single pass");
  f.field("average", o.average, Range{0, 1, false, true},
          "decay of the average of weights that samples are drawn with; 0: none");
  f.field("from_average", o.from_average, "start from the average of the phase before");
  f.section("optimizer", [&](Fields& g) { describe(g, o.optimizer); });
  o.objectives.describe(f);
  check_objectives(f, o.objectives, network);
  for (const auto& term : o.objectives) {
    if (term->replay() != nullptr && o.batch > term->replay()->size)
      f.problem("batch", "more chains a batch than the buffer holds");
  }
}

void describe(Fields& f, NetworkOptions& o) {
  f.field("kind", o.kind, {"residual", "strided", "unet", "mlp", "classifier"},
          "the architecture, which has keys of its own");
  f.field("labels", o.labels, "condition on the data's labels");
  f.field("conditions", o.conditions, "condition on these of the data's numbers; igebm data show tells their names");
  f.field("noise_features", o.noise_features, Range{0, 1e4},
          "above 0: condition on a noise level, by so many features (an even number) of its logarithm");
  f.field(
      "number_features", o.number_features, Range{0, 1e4},
      "above 0: so many Fourier features (an even number) of the conditions, beside them, by which they are learned "
      "sooner");
  f.field(
      "label_dropout", o.label_dropout, Range{0, 1, false, true},
      "share of training's labels, or conditions, left out, so that samples of none in particular, and guidance, work");
  if (o.label_dropout > 0 && ((!o.labels && o.conditions.empty()) || o.noise_features == 0))
    f.problem("label_dropout", "only with labels = true or conditions, and noise_features above 0");
  if (o.number_features % 2 != 0) f.problem("number_features", "expected an even number");
  if (o.number_features > 0 && (o.conditions.empty() || o.noise_features == 0))
    f.problem("number_features", "only with conditions, and noise_features above 0");
  if (o.labels && !o.conditions.empty()) f.problem("conditions", "not together with labels = true");
  if (o.noise_features % 2 != 0) f.problem("noise_features", "expected an even number");
  if (o.kind == "residual") describe(f, o.residual);
  if (o.kind == "strided") describe(f, o.strided);
  if (o.kind == "unet") describe(f, o.unet);
  if (o.kind == "mlp") describe(f, o.mlp);
  if (o.kind == "classifier") {
    describe(f, o.classifier);
    if (o.labels) f.problem("labels", "a classifier tells the labels; it is not conditional on them");
    if (!o.conditions.empty()) f.problem("conditions", "a classifier is not conditional");
    if (o.noise_features > 0) f.problem("noise_features", "a classifier is not conditional");
  }
}

Network network_of(const NetworkOptions& o) {
  if (o.kind == "classifier") return Network::classifier;
  return o.noise_features > 0 ? Network::energy_at_noise_levels : Network::energy;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void describe_phases(Fields& f, Recipe& r) {
  const std::vector<PhaseOptions> given = std::move(r.phases);
  r.phases.clear();
  const auto in_file = f.sections();
  if (!in_file && given.size() != r.phase_order.size())
    f.problem("", fmt::format("expected a phase for each of train.phases' {} names, got {}", r.phase_order.size(),
                              given.size()));
  const auto describe_phase = [&](PhaseOptions& phase, const std::string& name) {
    phase.name = name;
    f.section(name.c_str(), [&](Fields& g) { describe(g, phase, network_of(r.network)); });
  };
  for (std::size_t i = 0; i < r.phase_order.size(); ++i) {
    const std::string& name = r.phase_order[i];
    if (in_file && !contains(*in_file, name))
      f.problem(name.c_str(), "train.phases names it, but there is no such section" + io::did_you_mean(name, *in_file));
    r.phases.push_back(i < given.size() ? given[i] : PhaseOptions{});
    describe_phase(r.phases.back(), name);
  }
  // Sections that are not in the order are checked, too, but not run.
  for (const std::string& name : in_file.value_or(std::vector<std::string>{})) {
    if (contains(r.phase_order, name)) continue;
    f.section(name.c_str(), [&](Fields& g) {
      const auto inside = g.sections().value_or(std::vector<std::string>{});
      const bool trains = std::ranges::any_of(
          known_objectives(), [&](const auto& objective) { return contains(inside, objective->section()); });
      if (!trains)  // a slip
        f.problem(name.c_str(), "train.phases does not name it" + io::did_you_mean(name, r.phase_order));
      PhaseOptions left_out;
      left_out.name = name;
      describe(g, left_out, network_of(r.network));
    });
  }
}

}  // namespace

void describe(Fields& f, Recipe& r) {
  f.section("run", [&](Fields& g) { model::describe_run(g, r); });
  f.section("data", [&](Fields& g) { data::describe(g, r.data); });
  f.section("network", [&](Fields& g) { describe(g, r.network); });
  f.section("train", [&](Fields& g) {
    g.field("phases", r.phase_order, "names of sections [phase.NAME], in the order in which they run");
    if (r.phase_order.empty()) g.problem("phases", "expected at least one name");
    g.field("from", r.from, {}, "a run, checkpoint or model by name whose weights training begins with; empty: random");
    g.field("checkpoint_every", r.output.checkpoint_every, count_from_one, "training steps between checkpoints");
    g.field("keep", r.output.keep, count_from_zero, "checkpoints kept; 0: all");
    g.field("metrics_every", r.output.metrics_every, count_from_one, "training steps between lines of metrics.jsonl");
    g.field("samples_every", r.output.samples_every, count_from_zero, "steps between pictures of samples; 0: none");
    g.field("samples", r.output.samples, count_from_one, "samples in such a picture");
  });
  f.section("phase", [&](Fields& g) { describe_phases(g, r); });
  f.section("sampling", [&](Fields& g) {
    describe(g, r.sampling, r.network.noise_features > 0);
    if (const std::string problem = model::kernel_problem(r, r.sampling); !problem.empty())
      g.problem("kernel", problem);
    if (r.sampling.annealing.guidance != 1 && r.network.noise_features > 0 && r.network.label_dropout == 0)
      g.problem("guidance", "only with network.label_dropout above 0");
    if (r.output.keep > 0 && r.sampling.ensemble > r.output.keep)
      g.problem("ensemble", fmt::format("expected at most train.keep = {}, the checkpoints that are kept, got {}",
                                        r.output.keep, r.sampling.ensemble));
  });
  f.section("evaluate", [&](Fields& g) {
    g.field("every", r.evaluate.every, count_from_zero, "training steps between figures of quality; 0: none");
    g.field("metric", r.evaluate.metric, evaluation::ranking_metric_names(), "by which checkpoints/best is kept");
    g.field("features", r.evaluate.features, {}, "a file or run, as for igebm evaluate; empty: the usual ones");
    g.field("count", r.evaluate.count, Range{2, 1e9}, "samples drawn for a figure");
    if (r.evaluate.every > 0 && r.network.kind == "classifier")
      g.problem("every", "a classifier draws no samples to evaluate");
  });
  f.section("watchdog", [&](Fields& g) {
    g.field("energy_limit", r.watchdog.energy_limit, limit, "of |mean E| of data or samples");
    g.field("loss_limit", r.watchdog.loss_limit, limit,
            "of a loss of matching or of a classifier, in times that of a network that knows nothing");
    g.field("rollbacks", r.watchdog.rollbacks, count_from_zero, "to the last good checkpoint, before training stops");
    g.field("learning_rate_factor", r.watchdog.learning_rate_factor, Range{0, 1, true}, "at each rollback");
  });
}

std::int64_t Recipe::total_steps() const {
  std::int64_t total = 0;
  for (const auto& phase : phases) total += phase.steps;
  return total;
}

std::string in_words(const PhaseOptions& phase) {
  std::string text = fmt::format("{} steps of {}", phase.steps, phase.batch);
  for (const auto& term : phase.objectives) {
    text += ", " + words(term->section());
    if (term->chain_steps() != nullptr) text += fmt::format(" with {} Langevin steps", *term->chain_steps());
  }
  return text;
}

Recipe read_recipe(const std::string& path, const std::vector<std::string>& assignments) {
  io::Recipe file = io::Recipe::read(path);
  for (const auto& assignment : assignments) file.set(assignment);
  Recipe recipe;
  file.apply([&](Fields& f) { describe(f, recipe); });
  for (std::string* each : {&recipe.data.path, &recipe.choices, &recipe.evaluate.features})
    *each = model::absolute_path(*each);
  if (std::filesystem::exists(recipe.from)) recipe.from = model::absolute_path(recipe.from);  // else a model's name
  return recipe;
}

Objectives make_objectives(const PhaseOptions& phase, const nn::Graph& graph) {
  Objectives all;
  for (const auto& term : phase.objectives) all.emplace_back(term->section(), term->make(graph));
  return all;
}

nn::Graph build_graph(const NetworkOptions& o, const std::vector<std::int64_t>& input_shape, std::int64_t classes,
                      std::int64_t conditions) {
  if (o.labels && classes == 0) throw UserError("network.labels: the data have no labels");
  if (!o.conditions.empty() && conditions == 0) throw UserError("network.conditions: the data have no conditions");
  const nn::Conditioning on{.classes = o.labels ? classes : 0,
                            .conditions = conditions,
                            .noise_features = o.noise_features,
                            .optional_condition = o.label_dropout > 0,
                            .number_features = o.number_features};
  if (o.kind == "strided") return nn::strided(o.strided, input_shape, on);
  if (o.kind == "unet") return nn::unet(o.unet, input_shape, on);
  if (o.kind == "classifier") return nn::classifier(o.classifier, input_shape, classes);
  if (o.kind == "mlp") return nn::mlp(o.mlp, input_shape, on);
  return nn::residual(o.residual, input_shape, on);
}

}  // namespace igebm::training
