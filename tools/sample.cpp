#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/model.h"
#include "igebm/model/picture.h"
#include "igebm/model/shipped.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "igebm/training/recipe.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

struct SampleArguments {
  std::string run, out = "samples.png";
  std::string weights = "average", label, condition;
  std::int64_t count = 100, seed = -1, ensemble = -1;
  bool best = false, json = false;
  std::vector<std::string> set;
};

/// What is asked for; empty where nothing is.
nn::Condition condition_of(const SampleArguments& a, const model::ConditionSpec& spec) {
  nn::Condition condition;
  if (!a.label.empty()) {
    try {
      condition = model::condition_of_class(spec, a.label);
    } catch (const UserError& e) {
      throw UserError(fmt::format("sample: --label: {}", e.what()));
    }
  }
  if (!a.condition.empty()) {
    if (spec.values == 0 || spec.numbers.names.empty())
      throw UserError("sample: --condition: this model has no conditions");
    condition = model::condition_with(spec, a.condition, a.count);
  }
  return condition;
}

void sample(const SampleArguments& a) {
  namespace fs = std::filesystem;
  const std::string ending = fs::path(a.out).extension();
  if (ending != ".png" && ending != ".npz" && ending != ".gif")
    throw UserError(fmt::format("sample: --out {}: expected a name that ends in .png, .npz or .gif", a.out));
  io::check_writable(a.out);
  const model::Model model = open_model(
      a.run, {.weights = weights_of(a.weights), .best = a.best, .ensemble = std::max<std::int64_t>(a.ensemble, 0)},
      a.set);
  const model::ConditionSpec& spec = model.condition_spec();
  const model::SampleSpace& space = model.space();
  model::SampleRequest request{.count = a.count, .condition = condition_of(a, spec)};
  const bool pictures = space.kind == model::SampleSpace::Kind::image;
  if (!pictures && ending == ".gif")
    throw UserError(fmt::format("sample: {}: these samples are points; use --out FILE.png or FILE.npz", a.out));
  if (!io::has_picture(space.shape) && ending != ".npz")
    throw UserError(fmt::format("sample: {}: samples of shape ({}) have no picture; use --out FILE.npz", a.out,
                                fmt::join(space.shape, ", ")));
  const auto console = a.json ? std::make_unique<Observer>() : make_console();
  const double begun = now();
  catch_interrupts();
  std::vector<at::Tensor> frames;
  if (ending == ".gif") request.batch = a.count;
  const sampling::SamplerOptions& sampler = model.settings().sampling;
  const std::int64_t total = sampling::step_count(sampler, spec.noise.has_value());
  const std::int64_t batches = (a.count + request.batch - 1) / request.batch;
  std::int64_t done = 0, non_finite = 0;
  const bool compares = sampling::find_kernel(sampler.kernel).compares;
  double accepted = 0, counted = 0;  // over the second half of the steps
  request.on_step = [&](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains& chains) {
    if (interrupted()) throw UserError("sample: interrupted, nothing is written");
    non_finite += info.non_finite;
    if (info.proposes && 2 * p.step >= p.total) accepted += info.accepted_share, ++counted;
    console->progress("sampling", ++done, batches * total);
    const std::int64_t every = std::max<std::int64_t>(1, total / 100);
    if (ending == ".gif" && (p.step % every == 0 || p.step + 1 == p.total))
      frames.push_back(io::grid(space.to_unit(chains.x.cpu())));
  };
  if (a.seed >= 0) request.seed = static_cast<std::uint64_t>(a.seed);
  const model::Samples samples = model.sample(request);
  if (non_finite > 0)
    console->message(fmt::format(
        "warning: {} steps of chains met energies or gradients that are not finite and stood still", non_finite));
  const fs::path out(a.out);
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  const std::uint64_t seed = request.seed.value_or(static_cast<std::uint64_t>(model.settings().seed));
  const io::Texts texts = provenance({a.run, model.step(), seed});
  if (ending == ".png") model::write_picture(out, model, samples.x, samples.x.abs().max().item<double>(), {}, texts);
  if (ending == ".gif") io::write_gif(out, frames, 12);
  if (ending == ".npz") {
    std::map<std::string, at::Tensor> arrays = {{"energies", samples.energies},
                                                {pictures ? "images" : "points", space.to_unit(samples.x)}};
    if (spec.classes > 0) arrays["labels"] = samples.condition.classes;
    if (spec.values > 0) arrays["conditions"] = samples.condition.values;
    io::write_npz(out, arrays, texts);
  }
  const std::string share =
      compares && counted > 0 ? fmt::format(", {:.0f} % accepted", 100 * accepted / counted) : std::string();
  if (a.json) {
    fmt::print("{}\n", json_text({{"samples", a.out},
                                  {"count", a.count},
                                  {"step", model.step()},
                                  {"steps", total},
                                  {"gradients", sampling::gradient_count(sampler, spec.noise.has_value())},
                                  {"seconds", now() - begun},
                                  {"seed", seed},
                                  {"non_finite", non_finite}}));
    return;
  }
  console->message(fmt::format("{} samples after {}{}: {}", a.count,
                               sampling::describe_steps(sampler, spec.noise.has_value()), share, a.out));
}

}  // namespace

model::Model open_model(const std::string& what, const model::OpenOptions& options,
                        const std::vector<std::string>& set) {
  const std::filesystem::path run = model::find_model(what);
  return model::Model::open(run, options, training::read_recipe((model::run_of(run) / "recipe.toml").string(), set));
}

std::string describe_samples(const std::string& run, const model::Model& model, std::uint64_t seed) {
  return fmt::format("{} (step {}; {}, seed {})", run, model.step().empty() ? "?" : model.step(),
                     sampling::describe_steps(model.settings().sampling, model.condition_spec().noise.has_value()),
                     seed);
}

model::Weights weights_of(const std::string& name) { return value_of<model::Weights>(name).value(); }

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

void add_sample(CLI::App& app) {
  auto* command = app.add_subcommand("sample", "draw samples from a trained model");
  auto a = std::make_shared<SampleArguments>();
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
