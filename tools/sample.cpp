#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/generation/trace.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/model/files.h"
#include "igebm/model/model.h"
#include "igebm/model/picture.h"
#include "igebm/model/shipped.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "igebm/sampling/schedule.h"
#include "igebm/training/denoising_score_matching.h"
#include "igebm/training/recipe.h"
#include "tools/asked.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct SampleArguments {
  std::string run, out = "samples.png";
  std::string weights = "average", label, condition, until, from, trace;
  std::int64_t count = 100, seed = -1, ensemble = -1, most = 0;
  double back_to = 0;
  bool best = false, json = false;
  std::vector<std::int64_t> trace_at;
  std::vector<std::string> set;
};

/// A call of `igebm sample`.
struct Sampling {
  SampleArguments a;
  model::Model model;
  model::SampleRequest request;
  sampling::SamplerOptions sampler;
  model::Continued before;  // with --continue
  at::Tensor gradients;     // that its samples have taken
  std::unique_ptr<generation::Trace> trace;
  std::unique_ptr<Observer> console;
  std::vector<at::Tensor> frames;
  std::int64_t done = 0, non_finite = 0;
  double begun = now(), accepted = 0, counted = 0;  // of proposals, over the second half of the steps

  explicit Sampling(const SampleArguments& given)
      : a(given),
        model(open_model(
            a.run,
            {.weights = weights_of(a.weights), .best = a.best, .ensemble = std::max<std::int64_t>(a.ensemble, 0)},
            a.set)),
        sampler(model.settings().sampling),
        console(a.json ? std::make_unique<Observer>() : make_console()) {
    request.count = a.count;
    if (a.from.empty()) request.condition = asked_condition(model.condition_spec(), a.label, a.condition, a.count);
    if (a.seed >= 0) request.seed = static_cast<std::uint64_t>(a.seed);
    if (!a.from.empty()) go_on();
    check_outputs();
    if (annealed() && !a.until.empty()) check_pace();
    if (a.until.empty()) {
      request.on_step = [this](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains& chains) {
        step(p, info, chains);
      };
    } else {
      request.until = sampling::SettledOptions{.most = a.most};
      request.on_round = [this](const sampling::Round& r) { round(r); };
    }
    request.sampler = sampler;
    if (!a.trace.empty()) follow();
  }

  bool annealed() const { return model.condition_spec().noise.has_value(); }
  bool pictures() const { return model.space().kind == model::SampleSpace::Kind::image; }
  std::string ending() const { return fs::path(a.out).extension(); }
  std::uint64_t seed() const { return request.seed.value_or(static_cast<std::uint64_t>(model.settings().seed)); }
  const char* key() const { return pictures() ? "images" : "points"; }

  /// Chains that go until they have settled take steps of their own.
  void check_pace() const {
    for (const char* key : {"steps", "levels", "time", "rho", "step_share", "predictor", "order", "denoise",
                            "temperature", "averaged", "budgets", "budget_steps"}) {
      if (std::ranges::any_of(a.set,
                              [&](const auto& set) { return set.starts_with(fmt::format("sampling.{}=", key)); }))
        throw UserError(
            fmt::format("sample: sampling.{}: with --until settled each chain finds its own levels and steps; "
                        "--max-evaluations bounds them",
                        key));
    }
  }

  void check_outputs() {
    const model::SampleSpace& space = model.space();
    if (!pictures() && ending() == ".gif")
      throw UserError(fmt::format("sample: {}: these samples are points; use --out FILE.png or FILE.npz", a.out));
    if (!io::has_picture(space.shape) && ending() != ".npz")
      throw UserError(fmt::format("sample: {}: samples of shape ({}) have no picture; use --out FILE.npz", a.out,
                                  fmt::join(space.shape, ", ")));
    if (ending() == ".gif") request.batch = request.count;
  }

  /// The samples of --continue FILE.npz become the request's, with as many gradients more unless others are asked for.
  void go_on() {
    try {
      auto arrays = io::read_npz(a.from);
      for (const char* name : {key(), "streams", "steps", "gradients"}) {
        if (!arrays.contains(name))
          throw UserError(
              fmt::format("{}: has no \"{}\"; expected what igebm sample --out FILE.npz wrote", a.from, name));
      }
      gradients = arrays["gradients"].to(at::kLong);
      before = {model.space().from_unit(arrays[key()].to(at::kFloat)), arrays["streams"], arrays["steps"]};
      request.count = before.x.size(0);
      if (request.count < 1 || gradients.sizes() != before.stream.sizes())
        throw UserError(fmt::format("{}: expected gradients of each of at least one sample", a.from));
      if (arrays.contains("labels")) request.condition.classes = arrays["labels"];
      if (arrays.contains("conditions")) request.condition.values = arrays["conditions"];
      nlohmann::ordered_json said;
      try {
        said = read_provenance(a.from);
      } catch (const UserError&) {
        if (a.seed < 0) throw;  // else nothing that it says is needed
      }
      if (said.contains("model") && said["model"].is_string()) check_drawn_by(said["model"].get<std::string>());
      if (a.seed < 0 && said.contains("seed")) request.seed = said["seed"].get<std::uint64_t>();
    } catch (const UserError& e) {
      throw UserError(fmt::format("sample: --continue {}", e.what()));
    }
    if (annealed()) before.sigma = a.back_to > 0 ? a.back_to : std::min(2.0, model.condition_spec().noise->sigma_max);
    if (a.back_to > 0 && !annealed()) throw UserError("sample: --back-to: this model takes no noise levels");
    request.from = &before;
    const bool asked = std::ranges::any_of(a.set, [](const std::string& set) {
      return set.starts_with("sampling.budget") || set.starts_with("sampling.steps");
    });
    if (!annealed()) sampler = sampling::more_steps(sampler);
    if (!asked && a.until.empty())
      sampler.budget = std::max<std::int64_t>(1, gradients.to(at::kDouble).mean().round().item<std::int64_t>());
  }

  /// Another model's samples are no draft of this one's. A name that says nothing here is let pass.
  void check_drawn_by(const std::string& other) const {
    const auto place = [](const std::string& name) {
      try {
        return fs::weakly_canonical(model::run_of(model::find_model(name)));
      } catch (const UserError&) {
        return fs::path();
      }
    };
    const fs::path theirs = place(other), ours = place(a.run);
    if (!theirs.empty() && !ours.empty() && theirs != ours)
      throw UserError(fmt::format("{}: these samples were drawn by {}, not by {}", a.from, other, a.run));
  }

  void follow() {
    std::vector<double> sigmas;
    if (annealed() && a.until.empty()) {
      const model::NoiseScale& noise = *model.condition_spec().noise;
      sampling::SamplerOptions spent = sampling::within_budget(sampler, true);
      for (const auto& level :
           sampling::noise_levels(spent, {noise.sigma_min, request.from != nullptr ? before.sigma : noise.sigma_max}))
        sigmas.insert(sigmas.end(),
                      static_cast<std::size_t>(level.mixing_steps + level.fine_steps + level.descent_steps),
                      level.sigma);
    }
    std::vector<std::int64_t> after = a.trace_at;
    const std::int64_t steps = a.until.empty() ? sampling::step_count(sampler, annealed()) : 24;
    for (const std::int64_t at : after) {
      if (a.until.empty() && at > steps)
        throw UserError(fmt::format("sample: --trace-at {}: these chains take {} steps", at, steps));
    }
    if (after.empty()) {
      for (std::int64_t eighth = 1; eighth <= 8; ++eighth)
        after.push_back(std::max<std::int64_t>(1, steps * eighth / 8));
    }
    trace = std::make_unique<generation::Trace>(request.count, std::move(after), std::move(sigmas));
  }

  void step(sampling::Position p, const sampling::StepInfo& info, const sampling::Chains& chains) {
    if (interrupted()) throw sampling::Stop();
    non_finite += info.non_finite;
    if (info.proposes && 2 * p.step >= p.total) accepted += info.accepted_share, ++counted;
    console->progress("sampling", ++done, p.total * ((request.count + request.batch - 1) / request.batch));
    const std::int64_t every = std::max<std::int64_t>(1, p.total / 100);
    if (ending() == ".gif" && (p.step % every == 0 || p.step + 1 == p.total))
      frames.push_back(io::grid(model.space().to_unit(chains.x.cpu())));
    if (trace) trace->record(info, chains);
  }

  void round(const sampling::Round& r) {
    if (interrupted()) throw sampling::Stop();
    non_finite += r.info.non_finite;
    console->progress("chains that have settled", r.finished, r.count);
    if (trace) trace->record(r.info, r.chains, r.sigma);
  }

  void write(const model::Samples& samples, const io::Texts& texts) const {
    const model::ConditionSpec& spec = model.condition_spec();
    const fs::path out(a.out);
    if (out.has_parent_path()) io::make_folder(out.parent_path());
    if (ending() == ".png")
      io::write_png(out, model::picture_of(model, samples.x, samples.x.abs().max().item<double>()), texts);
    if (ending() == ".gif") io::write_gif(out, frames, 12, texts);
    if (ending() == ".npz") {
      std::map<std::string, at::Tensor> arrays = {{"energies", samples.energies},
                                                  {key(), model.space().to_unit(samples.x)},
                                                  {"streams", samples.stream},
                                                  {"steps", samples.steps},
                                                  {"gradients", samples.evaluations}};
      if (gradients.defined()) arrays["gradients"] = samples.evaluations + gradients.slice(0, 0, samples.x.size(0));
      if (spec.classes > 0) arrays["labels"] = samples.condition.classes;
      if (spec.values > 0) arrays["conditions"] = samples.condition.values;
      if (samples.settled.defined()) arrays["settled"] = samples.settled, arrays["settled_at"] = samples.sigma;
      io::write_npz(out, arrays, texts);
    }
    if (!trace) return;
    const auto traced = trace->arrays();
    for (const std::int64_t at : a.trace_at) {
      if (const auto found = traced.find("picture_steps");
          found == traced.end() || !found->second.eq(at).any().item<bool>())
        tell_notes({fmt::format("--trace-at {}: no chain took so many steps", at)});
    }
    const fs::path to(a.trace);
    if (to.has_parent_path()) io::make_folder(to.parent_path());
    if (to.extension() == ".npz") {
      io::write_npz(to, traced, texts);
    } else {
      io::write_png(to, trace->picture(model.space()), texts);
    }
  }

  std::string words(const model::Samples& samples) const {
    const std::int64_t count = samples.x.size(0);
    const char* more = request.from != nullptr ? " more" : "";
    if (samples.settled.defined()) {
      const at::Tensor each = samples.evaluations;
      return fmt::format("{} samples after {:.1f} gradients{} on average, {} to {}; {:.0f} % settled: {}", count,
                         each.to(at::kDouble).mean().item<double>(), more, each.min().item<std::int64_t>(),
                         each.max().item<std::int64_t>(), 100 * samples.settled.to(at::kDouble).mean().item<double>(),
                         a.out);
    }
    const std::string share = sampling::find_kernel(sampler.kernel).compares && counted > 0
                                  ? fmt::format(", {:.0f} % accepted", 100 * accepted / counted)
                                  : std::string();
    return fmt::format("{} samples after {}{}{}: {}", count, sampling::describe_steps(sampler, annealed()), more, share,
                       a.out);
  }

  void report(const model::Samples& samples) const {
    const bool part = samples.x.size(0) < request.count;
    if (part && !a.json) console->message(told_of_part(samples.x.size(0), request.count, "samples"));
    if (!a.json) {
      console->message(words(samples));
      return;
    }
    nlohmann::ordered_json json = {{"samples", a.out}, {"count", samples.x.size(0)}, {"step", model.step()}};
    if (samples.settled.defined()) {
      json["gradients"] = samples.evaluations.to(at::kDouble).mean().item<double>();
      json["least_gradients"] = samples.evaluations.min().item<std::int64_t>();
      json["most_gradients"] = samples.evaluations.max().item<std::int64_t>();
      json["settled"] = samples.settled.to(at::kDouble).mean().item<double>();
    } else {
      json["steps"] = sampling::step_count(sampler, annealed());
      json["gradients"] = samples.evaluations[0].item<std::int64_t>();
    }
    json["seconds"] = now() - begun, json["seed"] = seed(), json["non_finite"] = non_finite;
    if (part) json["interrupted"] = true;
    fmt::print("{}\n", json_text(json));
  }
};

void sample(const SampleArguments& a) {
  const std::string ending = fs::path(a.out).extension();
  if (ending != ".png" && ending != ".npz" && ending != ".gif")
    throw UserError(fmt::format("sample: --out {}: expected a name that ends in .png, .npz or .gif", a.out));
  if (const std::string to = fs::path(a.trace).extension(); !a.trace.empty() && to != ".png" && to != ".npz")
    throw UserError(fmt::format("sample: --trace {}: expected a name that ends in .png or .npz", a.trace));
  if (!a.trace.empty() && fs::path(a.trace).lexically_normal() == fs::path(a.out).lexically_normal())
    throw UserError(fmt::format("sample: --trace {}: the samples go there; expected another file", a.trace));
  if (!a.until.empty() && ending == ".gif")
    throw UserError(fmt::format("sample: --out {}: with --until each chain goes at its own pace; use --trace", a.out));
  io::check_writable(a.out);
  if (!a.trace.empty()) io::check_writable(a.trace);
  Sampling s(a);
  catch_interrupts();
  const model::Samples samples = s.model.sample(s.request);
  if (samples.x.size(0) == 0) throw UserError("sample: interrupted, nothing is written: no sample was finished");
  if (s.non_finite > 0)
    s.console->message(fmt::format(
        "warning: {} steps of chains met energies or gradients that are not finite and stood still", s.non_finite));
  s.write(samples, provenance({a.run, s.model.step(), s.seed()}));
  s.report(samples);
}

training::Recipe recipe_of(const std::filesystem::path& found, const std::vector<std::string>& set) {
  return training::read_recipe((model::run_of(found) / "recipe.toml").string(), set);
}

}  // namespace

bool levels_compare(const std::string& run, const std::vector<std::string>& set) {
  const training::Recipe recipe = recipe_of(model::find_model(run), set);
  return std::ranges::any_of(recipe.phases, [](const training::PhaseOptions& phase) {
    const auto* term = phase.objectives.find<training::DenoisingScoreMatchingOptions>();
    return term != nullptr && term->time_score > 0;
  });
}

model::Model open_model(const std::string& what, const model::OpenOptions& options,
                        const std::vector<std::string>& set) {
  const std::filesystem::path run = model::find_model(what);
  model::check_weights(run, options.weights);
  return model::Model::open(run, options, recipe_of(run, set));
}

std::string describe_samples(const std::string& run, const model::Model& model, std::uint64_t seed) {
  return fmt::format("{} (step {}; {}, seed {})", run, model.step().empty() ? "?" : model.step(),
                     sampling::describe_steps(model.settings().sampling, model.condition_spec().noise.has_value()),
                     seed);
}

model::Weights weights_of(const std::string& name) { return value_of<model::Weights>(name).value(); }

namespace {

template <class Good>
CLI::Validator number_that(const std::string& expected, const Good& good) {
  const auto check = [expected, good](std::string& text) {
    const auto number = io::number_of(text);
    return number && good(*number) ? std::string() : fmt::format("expected {}, got {}", expected, text);
  };
  return CLI::Validator(check, expected);
}

}  // namespace

CLI::Validator above_zero() {
  return number_that("a number above 0", [](double x) { return x > 0 && std::isfinite(x); });
}
CLI::Validator from_zero() {
  return number_that("a number from 0", [](double x) { return x >= 0 && std::isfinite(x); });
}
CLI::Validator number_in(double low, double high) {
  return number_that(fmt::format("a number from {:g} to {:g}", low, high),
                     [low, high](double x) { return x >= low && x <= high; });
}

void add_run_argument(CLI::App& command, std::string& run) {
  command.add_option("RUN", run, "a run's folder, one of its checkpoints, or a model's name (igebm models)")
      ->required();
}

void add_best_option(CLI::App& command, bool& best) {
  command.add_flag("--best", best, "the checkpoint that the recipe's [evaluate] found best, instead of the newest");
}

void add_weights_option(CLI::App& command, std::string& weights) {
  command.add_option("--weights", weights, "average, of weights over training steps, or network, as they were trained")
      ->capture_default_str()
      ->check(CLI::IsMember(all_names<model::Weights>()));
}

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "cpu, cuda, cuda:N or auto (default: as the model's recipe says)");
}

void add_seed_option(CLI::App& command, std::int64_t& seed, const std::string& otherwise) {
  command.add_option("--seed", seed, "default: " + otherwise)
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
}

void add_threads_option(CLI::App& command, std::vector<std::string>* set) {
  command
      .add_option_function<std::int64_t>(
          "--threads",
          [set](const std::int64_t& threads) {
            if (set != nullptr) {
              set->push_back(fmt::format("run.threads={}", threads));
            } else if (threads > 0) {
              at::set_num_threads(static_cast<int>(threads));
            }
          },
          set != nullptr ? "that compute; 0: one per core: short for --set run.threads=…"
                         : "that compute; 0, the default: one per core")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1024}));
}

void add_recipe_options(CLI::App& command, std::vector<std::string>& set) {
  command.add_option("--set", set, "section.key=value, instead of the recipe's; may be given often")
      ->take_all()
      ->allow_extra_args(false);
  // After --set, which would overwrite what this adds.
  command
      .add_option_function<std::string>(
          "--engine", [&set](const std::string& engine) { set.push_back("run.engine=" + engine); },
          "fast (derived by hand) or reference (autograd): short for --set run.engine=…")
      ->check(CLI::IsMember(all_names<engine::Kind>()));
}

void add_sampling_options(CLI::App& command, std::vector<std::string>& set) {
  const auto shorthand = [&]<class Value>(const char* name, const std::string& key, const std::string& help, Value) {
    return command.add_option_function<Value>(
        name, [&set, key](const Value& value) { set.push_back(fmt::format("sampling.{}={}", key, value)); },
        fmt::format("{}: short for --set sampling.{}=…", help, key));
  };
  auto* steps = shorthand("--steps", "steps", "Langevin steps, of a network of noise levels at each", std::int64_t{});
  steps->check(CLI::Range(std::int64_t{0}, std::int64_t{1000000}));
  shorthand("--budget", "budget", "gradients that a sample may cost: fewer for a draft, more for quality",
            std::int64_t{})
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000000}))
      ->excludes(steps);
  shorthand("--guidance", "guidance", "beyond 1: more of what tells the class, at twice the gradients", double{});
  shorthand("--sampler", "kernel", "what moves chains", std::string{})->check(CLI::IsMember(sampling::kernel_names()));
}

namespace {

/// --until, --continue, --trace and what goes with them; after the options that they exclude.
void add_adaptive_options(CLI::App& command, SampleArguments& a) {
  auto* until = command
                    .add_option("--until", a.until,
                                "settled: each chain until its energy and movement have settled, and another in its "
                                "place; all are finished")
                    ->check(CLI::IsMember({"settled"}));
  command
      .add_option("--max-evaluations", a.most,
                  "gradients that a chain may take until then, 3 or more (default: the sampler's)")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1000000000}))
      ->needs(until);
  auto* from = command
                   .add_option("--continue", a.from,
                               "FILE.npz: more steps for the samples that igebm sample wrote there (default: as many "
                               "gradients as they have taken)")
                   ->excludes(command.get_option("--count"))
                   ->excludes(command.get_option("--label"))
                   ->excludes(command.get_option("--condition"));
  command
      .add_option("--back-to", a.back_to,
                  "with --continue, of a model of noise levels: the noise level that chains are taken back to, and go "
                  "down from (default: 2)")
      ->check(above_zero())
      ->needs(from);
  auto* trace = command.add_option("--trace", a.trace,
                                   "FILE.npz or FILE.png: energy, gradient norm and distance moved of each chain at "
                                   "each step, and pictures on the way");
  command.add_option("--trace-at", a.trace_at, "steps after which there are pictures in it (default: eight)")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000000000}))
      ->needs(trace);
}

}  // namespace

void add_sample(CLI::App& app) {
  auto* command = app.add_subcommand("sample", "draw samples from a trained model");
  auto a = std::make_shared<SampleArguments>();
  command->footer(
      "Examples:\n"
      "  igebm sample fashion-mnist --count 36 --out clothing.png\n"
      "  igebm sample fashion-mnist --until settled --out clothing.npz\n"
      "  igebm sample mnist --budget 10 --out draft.npz; igebm sample mnist --continue draft.npz --out better.npz\n"
      "  igebm sample mnist --count 8 --trace trace.png --trace-at 5,10,20,40");
  add_run_argument(*command, a->run);
  command->add_option("--count", a->count, "how many")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000000}));
  command->add_option(
      "--label", a->label,
      "of this class alone, a name or number, or none of a model with label_dropout (default: all classes "
      "in turn)");
  command->add_option("--condition", a->condition,
                      "NAME=VALUE,…, of a model of [network] conditions (default: those of training data in turn)");
  add_adaptive_options(*command, *a);
  add_seed_option(*command, a->seed, "the recipe's");
  command
      ->add_option(
          "--out", a->out,
          "FILE.png (a grid; of points density and samples), FILE.npz (arrays) or FILE.gif (the sampling as it goes)")
      ->capture_default_str();
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  command
      ->add_option("--ensemble", a->ensemble,
                   "take the steps with the newest checkpoints in turn, so many of them (default: the recipe's)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000}));
  add_recipe_options(*command, a->set);
  add_sampling_options(*command, a->set);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { sample(*a); });
}

}  // namespace igebm::tools
