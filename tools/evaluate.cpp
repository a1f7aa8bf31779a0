#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"
#include "igebm/data/npz_set.h"
#include "igebm/evaluation/judge.h"
#include "igebm/evaluation/quality.h"
#include "igebm/io/npz.h"
#include "igebm/model/model.h"
#include "igebm/training/recipe.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct EvaluateArguments {
  std::string what, features, data, data_path, against = "test", weights = "average";
  std::vector<std::string> metrics = {"frechet"}, set;
  std::int64_t count = 1000, steps = -1, seed = -1;
  bool best = false, json = false;
};

/// Samples and where they are from.
struct Samples {
  at::Tensor x;                       ///< pictures float (N, C, H, W) in [0, 1], or points float (N, D)
  at::Tensor labels;                  ///< the classes that they were asked to be, (N) int64, or undefined
  at::Tensor conditions;              ///< the numbers that they were asked to have, (N, F), or undefined
  std::vector<std::int64_t> columns;  ///< of the data's conditions, for those F
  std::string from;
  data::Options data;
  std::uint64_t seed = 0, data_seed = 0;
};

bool is_file(const std::string& what) {
  const std::string ending = fs::path(what).extension();
  return ending == ".npz" || ending == ".npy";
}

/// Pictures as (N, C, H, W) in [0, 1], or points; `where` is for messages.
at::Tensor require_samples(at::Tensor x, const std::string& where) {
  const bool pictures = x.dim() == 3 || x.dim() == 4, good = pictures
                                                                 ? x.is_floating_point() || x.scalar_type() == at::kByte
                                                                 : x.dim() == 2 && x.is_floating_point();
  if (!good)
    throw UserError(fmt::format(
        "{}: expected pictures (N, C, H, W), (N, H, W, C) or (N, H, W), float in [0, 1] or uint8, or points (N, D), "
        "float; got {} ({})",
        where, at::toString(x.scalar_type()), fmt::join(x.sizes().vec(), ", ")));
  if (x.numel() == 0)
    throw UserError(fmt::format("{}: holds no samples: its shape is ({})", where, fmt::join(x.sizes().vec(), ", ")));
  if (pictures) x = data::channels_first(x).contiguous();
  const bool bytes = x.scalar_type() == at::kByte;
  x = x.to(at::kFloat);
  if (bytes) x.div_(255);
  if (!x.isfinite().all().item<bool>()) throw UserError(where + ": holds numbers that are not finite");
  if (pictures && (x.min().item<double>() < 0 || x.max().item<double>() > 1))
    throw UserError(fmt::format("{}: expected values in [0, 1], got {:.3g} to {:.3g}", where, x.min().item<double>(),
                                x.max().item<double>()));
  return x;
}

/// What the file says of `count` samples' classes, undefined if nothing: "labels" or "y", or what numpy.savez(x,
/// labels) names "arr_1".
at::Tensor labels_in(const io::NpzFile& file, const std::string& path, std::int64_t count) {
  const std::string name = data::first_array(file, {"labels", "y"});
  if (name.empty() && !file.has("arr_1")) return {};
  const at::Tensor labels = file.open(name.empty() ? "arr_1" : name).read();
  if (labels.dim() == 1 && labels.size(0) == count && at::isIntegralType(labels.scalar_type(), /*includeBool=*/false))
    return labels.to(at::kLong);
  if (name.empty()) return {};
  throw UserError(fmt::format("{}: {}: expected integers ({}), got {} ({})", path, name, count,
                              at::toString(labels.scalar_type()), fmt::join(labels.sizes().vec(), ", ")));
}

/// Ready samples of a file of arrays.
Samples read_samples(const EvaluateArguments& a) {
  if (a.data.empty()) throw UserError(fmt::format("evaluate: {}: expected --data NAME, what it imitates", a.what));
  Samples s;
  s.data.name = a.data;
  s.data.path = a.data_path;
  s.data.validation = 0;
  io::Recipe recipe = io::Recipe::parse("", "evaluate");
  for (const auto& assignment : a.set) {
    if (!assignment.starts_with("data."))
      throw UserError(fmt::format("evaluate: --set: expected data.KEY=VALUE with {}, got {}", a.what, assignment));
    recipe.set(assignment);
  }
  recipe.apply([&](io::Fields& f) { f.section("data", [&](io::Fields& g) { data::describe(g, s.data); }); });
  s.seed = static_cast<std::uint64_t>(std::max<std::int64_t>(a.seed, 0));
  const io::NpzFile file(a.what);
  const std::string name = data::first_array(file, {"images", "points", "x", "data", "arr_0"});
  if (name.empty())
    throw UserError(fmt::format("{}: holds none of \"images\", \"points\", \"x\", \"data\" and \"arr_0\", but {}",
                                a.what, fmt::join(file.names(), ", ")));
  s.x = require_samples(file.open(name).read(), fmt::format("{}: {}", a.what, name));
  s.labels = labels_in(file, a.what, s.x.size(0));
  s.from = a.what;
  return s;
}

/// What samples are compared with.
struct Real {
  data::Dataset reference;
  data::Dataset others;  ///< of another split: real pictures to set beside the samples
  at::Tensor chosen;     ///< of these, as many as there are samples
  std::string beside;    ///< that split's name
};

/// Loaded before the samples are drawn, so that what is missing is said before the work.
Real load_real(const EvaluateArguments& a, const data::Options& options, std::uint64_t data_seed,
               const std::vector<std::int64_t>& shape, std::int64_t count, std::uint64_t seed) {
  const bool against_test = a.against == "test";
  Real real;
  real.reference = data::load(options, against_test ? data::Split::test : data::Split::train, data_seed);
  if (real.reference.shape() != shape)
    throw UserError(fmt::format("evaluate: samples and {} are of different shapes", options.name));
  real.beside = against_test ? "train" : "test";
  try {
    real.others = data::load(options, against_test ? data::Split::train : data::Split::test, data_seed);
  } catch (const UserError&) {
    // A set without a test split: what training has held out is as good.
    if (against_test || options.validation == 0) throw;
    real.beside = "validation";
    real.others = data::load(options, data::Split::validation, data_seed);
  }
  const std::int64_t floor_count = std::min(count, real.others.size());
  evaluation::check_count({.metrics = a.metrics}, floor_count,
                          fmt::format("evaluate: {}'s {} split", options.name, real.beside));
  real.chosen = evaluation::choose(real.others.size(), floor_count, seed, ~std::uint64_t{0});
  return real;
}

std::uint64_t seed_of(const EvaluateArguments& a, const training::Recipe& recipe) {
  return static_cast<std::uint64_t>(a.seed >= 0 ? a.seed : recipe.seed);
}

Samples draw_samples(const EvaluateArguments& a, const model::Model& model, Observer& observer) {
  const model::ConditionSpec& spec = model.condition_spec();
  const model::Settings& settings = model.settings();
  Samples s;
  s.seed = static_cast<std::uint64_t>(a.seed >= 0 ? a.seed : settings.seed);
  model::SampleRequest request{.count = a.count, .seed = s.seed, .energies = false};
  const bool annealed = spec.noise.has_value();
  const std::int64_t total = sampling::step_count(settings.sampling, annealed);
  const std::int64_t batches = (a.count + request.batch - 1) / request.batch;
  std::int64_t done = 0;
  request.on_step = [&](sampling::Position, const sampling::StepInfo&, const sampling::Chains&) {
    if (interrupted()) throw UserError("evaluate: interrupted");
    observer.progress("sampling", ++done, batches * total);
  };
  const model::Samples drawn = model.sample(request);
  s.x = model.space().to_unit(drawn.x);
  s.labels = drawn.condition.classes;
  s.conditions = drawn.condition.values;
  s.from = fmt::format("{} (step {}, {}{}; {}, seed {})", a.what, model.step().empty() ? "?" : model.step(),
                       a.weights == "network" ? "weights as trained" : "average of weights",
                       model.size() > 1 ? fmt::format(", {} checkpoints in turn", model.size()) : "",
                       sampling::describe_steps(settings.sampling, annealed), s.seed);
  s.data = settings.data;
  s.data_seed = static_cast<std::uint64_t>(settings.seed);
  return s;
}

double right_share(const evaluation::Extracted& extracted, const at::Tensor& labels) {
  return extracted.probabilities.argmax(1).eq(labels).to(at::kDouble).mean().item<double>();
}

/// Of one condition: the mean |asked for - found|, where found is that of the nearest picture of the reference.
struct Obeyed {
  std::string name;
  double samples = 0, real = 0;
};

std::vector<Obeyed> how_conditions_are_obeyed(const Samples& samples, const Real& real) {
  if (!samples.conditions.defined()) return {};
  const at::Tensor columns = at::tensor(samples.columns, at::kLong);
  const auto errors = [&](const at::Tensor& x, const at::Tensor& asked) {
    const at::Tensor found =
        real.reference.conditions.index_select(0, evaluation::nearest_rows(x, real.reference.all()));
    return (found.index_select(1, columns) - asked).abs().mean(0).to(at::kDouble);
  };
  const at::Tensor of_samples = errors(samples.x, samples.conditions);
  const at::Tensor of_real = errors(real.others.take(real.chosen),
                                    real.others.conditions.index_select(0, real.chosen).index_select(1, columns));
  std::vector<Obeyed> all;
  for (std::size_t i = 0; i < samples.columns.size(); ++i) {
    const auto k = static_cast<std::int64_t>(i);
    all.push_back({real.reference.condition_names[static_cast<std::size_t>(samples.columns[i])],
                   of_samples[k].item<double>(), of_real[k].item<double>()});
  }
  return all;
}

nlohmann::ordered_json to_json(const evaluation::Quality& q) {
  nlohmann::ordered_json json = {{"count", q.count}};
  if (q.frechet) json["frechet"] = *q.frechet;
  if (q.kid) json["kid"] = {{"mean", q.kid->mean}, {"deviation", q.kid->deviation}, {"subset_size", q.subset_size}};
  if (q.inception) json["inception"] = {{"mean", q.inception->mean}, {"deviation", q.inception->deviation}};
  if (!q.class_shares.empty()) json["class_shares"] = q.class_shares;
  return json;
}

void print_figures(const evaluation::Quality& q, const evaluation::Quality& real,
                   const std::vector<std::string>& class_names) {
  fmt::print("{:<18}{:>22}{:>22}\n", "", "samples", "real against real");
  fmt::print("{:<18}{:>22}{:>22}\n", "count", q.count, real.count);
  const auto estimate = [](const evaluation::Estimate& e) {
    return fmt::format("{:.4g} +- {:.2g}", e.mean, e.deviation);
  };
  if (q.frechet) fmt::print("{:<18}{:>22.4f}{:>22.4f}\n", "Frechet distance", *q.frechet, *real.frechet);
  if (q.kid) fmt::print("{:<18}{:>22}{:>22}\n", "KID", estimate(*q.kid), estimate(*real.kid));
  if (q.inception)
    fmt::print("{:<18}{:>22}{:>22}\n", "Inception score", estimate(*q.inception), estimate(*real.inception));
  for (std::size_t k = 0; k < q.class_shares.size(); ++k) {
    const std::string name = k < class_names.size() ? class_names[k] : fmt::format("class {}", k);
    if (q.class_shares.size() <= 20)
      fmt::print("{:<18}{:>20.1f} %{:>20.1f} %\n", name, 100 * q.class_shares[k], 100 * real.class_shares[k]);
  }
}

/// A classifier's run: how often it is right.
void evaluate_classifier(const EvaluateArguments& a, const training::Recipe& recipe) {
  const auto set = data::load(recipe.data, a.against == "test" ? data::Split::test : data::Split::train,
                              static_cast<std::uint64_t>(recipe.seed));
  const double share =
      right_share(evaluation::extract_all(*evaluation::classifier_features(a.what), set.all()), set.labels);
  if (a.json) {
    fmt::print("{}\n",
               json_text({{"classifier", a.what}, {"accuracy", share}, {"count", set.size()}, {"split", a.against}}));
  } else {
    fmt::print("{}: {:.2f} % of {} {} pictures of {} are right\n", a.what, 100 * share, set.size(), a.against,
               recipe.data.name);
  }
}

void evaluate(const EvaluateArguments& a) {
  const at::NoGradGuard no_grad;
  const auto console = a.json ? std::make_unique<Observer>() : make_console();
  catch_interrupts();
  // What does not fit is said before the work.
  const auto load_features = [&](const data::Options& data, const std::vector<std::int64_t>& shape,
                                 std::int64_t count) {
    evaluation::check_count({.metrics = a.metrics}, count, "evaluate: " + a.what);
    auto features = evaluation::features_or_usual(a.features, "--features", data, shape.size() == 3);
    const auto one = features->extract(at::zeros(shape).unsqueeze(0));
    if (std::count(a.metrics.begin(), a.metrics.end(), "inception") > 0 && !one.probabilities.defined())
      throw UserError("evaluate: --metric inception: these features tell no classes, which the score is made of");
    return features;
  };
  Samples samples;
  evaluation::FeaturesPtr features;
  Real real;
  if (is_file(a.what)) {
    samples = read_samples(a);
    const std::vector<std::int64_t> shape = samples.x.sizes().slice(1).vec();
    features = load_features(samples.data, shape, samples.x.size(0));
    real = load_real(a, samples.data, samples.data_seed, shape, samples.x.size(0), samples.seed);
    if (samples.labels.defined() && real.reference.classes > 0)
      data::require_labels(samples.labels, real.reference.classes, a.what + ": labels");
  } else {
    if (!a.data.empty() || !a.data_path.empty())
      throw UserError("evaluate: --data and --data-path go with SAMPLES.npz; a run knows its data");
    auto recipe = training::read_recipe((model::run_of(a.what) / "recipe.toml").string(), a.set);
    if (a.steps >= 0) recipe.sampling.steps = a.steps;
    const auto model = model::Model::open(a.what, {.weights = weights_of(a.weights), .best = a.best}, recipe);
    if (model.graph().outputs > 0) return evaluate_classifier(a, recipe);
    features = load_features(recipe.data, model.space().shape, a.count);
    real = load_real(a, recipe.data, static_cast<std::uint64_t>(recipe.seed), model.space().shape, a.count,
                     seed_of(a, recipe));
    samples = draw_samples(a, model, *console);
    samples.columns = real.reference.condition_columns(recipe.network.conditions);
  }
  const data::Dataset &reference = real.reference, &others = real.others;
  const at::Tensor& chosen = real.chosen;

  const auto extract = [&](const char* whose, const at::Tensor& pictures) {
    return evaluation::extract_all(*features, pictures, 250, [&](std::int64_t done, std::int64_t total) {
      if (interrupted()) throw UserError("evaluate: interrupted");
      if (done < total) console->progress(whose, done, total);
    });
  };
  const evaluation::QualityOptions options = {.metrics = a.metrics, .seed = samples.seed};
  const auto against = extract("features of the data", reference.all());
  const auto of_samples = extract("features of samples", samples.x);
  const auto of_real = extract("features of real pictures", others.take(chosen));
  const auto quality = evaluation::measure(of_samples, against, options);
  const auto floor = evaluation::measure(of_real, against, options);
  std::optional<double> known, samples_right, real_right;  // shares of right labels
  if (against.probabilities.defined() && against.probabilities.size(1) == reference.classes) {
    known = right_share(against, reference.labels);
    if (samples.labels.defined()) {
      samples_right = right_share(of_samples, samples.labels);
      real_right = right_share(of_real, others.labels.index_select(0, chosen));
    }
  }
  const std::vector<Obeyed> obeyed = how_conditions_are_obeyed(samples, real);
  if (a.json) {
    nlohmann::ordered_json json = {{"samples", samples.from},
                                   {"data", samples.data.name},
                                   {"against", {{"split", a.against}, {"count", reference.size()}}},
                                   {"features", features->description()},
                                   {"feature_count", against.features.size(1)},
                                   {"seed", samples.seed},
                                   {"quality", to_json(quality)},
                                   {"real", to_json(floor)},
                                   {"real_split", real.beside},
                                   {"warnings", quality.warnings}};
    if (known) json["features_accuracy"] = *known;
    if (samples_right) json["quality"]["labels_right"] = *samples_right, json["real"]["labels_right"] = *real_right;
    for (const Obeyed& o : obeyed) {
      json["quality"]["condition_errors"][o.name] = o.samples;
      json["real"]["condition_errors"][o.name] = o.real;
    }
    fmt::print("{}\n", json_text(json));
    return;
  }
  fmt::print("samples: {}\nagainst: {} {} {} of {}\nfeatures: {}{}\n", samples.from, reference.size(), a.against,
             samples.x.dim() == 4 ? "pictures" : "points", samples.data.name, features->description(),
             known ? fmt::format(", which tell {:.1f} % of these right", 100 * *known) : "");
  print_figures(quality, floor, reference.class_names);
  if (samples_right)
    fmt::print("{:<18}{:>20.1f} %{:>20.1f} %\n", "label right", 100 * *samples_right, 100 * *real_right);
  if (!obeyed.empty()) fmt::print("mean error of conditions, read off the nearest real picture:\n");
  for (const Obeyed& o : obeyed) fmt::print("  {:<16}{:>22.4f}{:>22.4f}\n", o.name, o.samples, o.real);
  if (real.beside == "validation")
    fmt::print("real against real: {} records held out from training, as there is no test split\n", others.size());
  for (const auto& warning : quality.warnings) fmt::print("warning: {}\n", warning);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto* command =
      app.add_subcommand("evaluate", "measure the quality of samples, beside that of as many real pictures");
  auto a = std::make_shared<EvaluateArguments>();
  command->add_option("RUN", a->what, "a run's folder, one of its checkpoints, or SAMPLES.npz (or .npy) with --data")
      ->required();
  command->add_option("--metric", a->metrics, "frechet, kid or inception; may be given often")
      ->capture_default_str()
      ->take_all()
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"frechet", "kid", "inception"}));
  command->add_option("--features", a->features,
                      "what pictures are compared by: a classifier's run or .safetensors, a CIFAR ResNet's .npz, or a "
                      "TorchScript .pt such as Inception's (default: runs/classifier-<data>; points: themselves)");
  command->add_option("--count", a->count, "samples drawn from a run")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{10000000}));
  command->add_option("--steps", a->steps, "Langevin steps (default: the recipe's)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  add_seed_option(*command, a->seed, "the recipe's");
  command->add_option("--against", a->against, "the split that samples are compared with: test or train")
      ->capture_default_str()
      ->check(CLI::IsMember({"test", "train"}));
  command->add_option("--data", a->data, "the data set that SAMPLES.npz imitate");
  command->add_option("--data-path", a->data_path, "its folder, where it is not in the usual one");
  command->add_flag("--best", a->best, "the checkpoint that the recipe's [evaluate] found best, instead of the newest");
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a, command] {
    for (const char* option : {"--count", "--steps", "--best", "--weights", "--engine"}) {
      if (is_file(a->what) && command->count(option) > 0)
        throw UserError(fmt::format("evaluate: {} goes with a run; {} holds samples already", option, a->what));
    }
    evaluate(*a);
  });
}

}  // namespace igebm::tools
