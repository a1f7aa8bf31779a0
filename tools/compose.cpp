#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/generation/composing.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "tools/asked.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct ComposeArguments {
  std::string expression, out = "composed.png", given, base, weights = "average", device;
  std::vector<std::string> models;
  std::int64_t count = 100, seed = -1, particles = 1;
  double negation = 0.5;
  generation::ComposingOptions moved;
  bool json = false;
  const CLI::App* command = nullptr;  // which options were given
};

generation::Vocabulary vocabulary_of(const ComposeArguments& a, bool compares) {
  // In the plane the default kernel compares energies.
  model::OpenOptions options{
      .weights = weights_of(a.weights), .device = a.device, .exact_points = a.moved.correct.empty()};
  if (compares) options.precision = engine::Precision::f32;  // energies are compared
  generation::Vocabulary vocabulary(options);
  for (const std::string& given : a.models) {
    const auto equals = given.find('=');
    if (equals == std::string::npos || equals + 1 == given.size())
      throw UserError(fmt::format("--model {}: expected NAME=RUN", given));
    try {
      vocabulary.define(given.substr(0, equals), given.substr(equals + 1));
    } catch (const UserError& error) {
      throw UserError(fmt::format("--model {}: {}", given, error.what()));
    }
  }
  return vocabulary;
}

at::Tensor picture_of(const generation::Composite& composite, const at::Tensor& x) {
  const model::SampleSpace& space = composite.space();
  if (space.kind == model::SampleSpace::Kind::image) return io::grid(space.to_unit(x));
  const auto energy = composite.energy(composite.range() ? composite.range()->sigma_min : 0);
  return model::picture_of_plane(*energy, composite.device(), x, x.abs().max().item<double>());
}

void write(const fs::path& out, const generation::Composite& composite, const model::Samples& samples,
           const io::Texts& texts) {
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  const model::SampleSpace& space = composite.space();
  const bool pictures = space.kind == model::SampleSpace::Kind::image;
  if (out.extension() == ".npz") {
    io::write_npz(out, {{"energies", samples.energies}, {pictures ? "images" : "points", space.to_unit(samples.x)}},
                  texts);
  } else {
    io::write_png(out, picture_of(composite, samples.x), texts);
  }
}

/// What was drawn is an evaluation of each run that the expression is of.
void keep(const ComposeArguments& a, std::uint64_t seed, const nlohmann::ordered_json& told,
          const generation::Composite& composite, const at::Tensor& x) {
  if (a.models.empty()) return;
  constexpr std::int64_t most_pictures = 64;
  const bool pictures = composite.space().kind == model::SampleSpace::Kind::image;
  const at::Tensor shown = pictures ? x.slice(0, 0, most_pictures) : x;
  const at::Tensor picture = io::has_picture(composite.space().shape) ? picture_of(composite, shown) : at::Tensor();
  for (const std::string& given : a.models) {
    const std::string run = given.substr(given.find('=') + 1);
    if (!run.ends_with(".pt")) keep_evaluation("composition", {run, "", seed}, told, picture);
  }
}

/// What would do nothing is refused.
void check_used(const ComposeArguments& a, const generation::Expression& expression) {
  const auto given = [&](const char* option) { return a.command->count(option) > 0; };
  if (given("--base") && a.given != generation::own_given) throw UserError("--base: expected --given own beside it");
  if (given("--not") && !generation::has_negation(expression))
    throw UserError("--not: the expression takes nothing away by !");
  for (const char* option : {"--moves", "--step-share"}) {
    if (a.moved.correct == "none" && given(option))
      throw UserError(fmt::format("{}: with --correct none nothing moves beside the steps between levels", option));
  }
}

void compose(const ComposeArguments& a) {
  const fs::path out(a.out);
  check_out(a.out);
  const generation::Expression expression = generation::parse(a.expression);
  if (!a.device.empty()) find_device(a.device);
  check_used(a, expression);
  generation::Vocabulary vocabulary =
      vocabulary_of(a, sampling::compares_energies(a.moved.correct) || generation::has_mixture(expression));
  generation::Composite composite(expression, vocabulary, {.negation = a.negation, .given = a.given, .base = a.base});
  if (const std::string name = vocabulary.unused(); !name.empty())
    throw UserError(fmt::format("--model {}=…: the expression does not name it", name));
  tell_notes(vocabulary.notes());
  const generation::ComposingOptions moved = generation::with_defaults(a.moved, composite);
  if (a.command->count("--step-share") > 0 && sampling::compares_energies(moved.correct))
    throw UserError(fmt::format("--step-share: {} learns the sizes of its steps", moved.correct));
  check_out(a.out, composite.space().shape);
  const sampling::SamplerOptions sampler = generation::sampler_of(moved, composite);
  io::check_writable(a.out);
  const std::string nothing = "interrupted, nothing is written: no sample was finished";
  const auto console = make_progress(nothing, a.json);
  const double begun = now();
  catch_interrupts();
  const std::uint64_t seed = a.seed >= 0 ? static_cast<std::uint64_t>(a.seed) : 0;
  const auto log_z = composite.normalise(seed, *console);

  model::SampleRequest request{.count = a.count, .seed = seed, .sampler = sampler};
  const bool annealed = composite.range().has_value();
  const std::int64_t batch = composite.batch_of(request, sampler, a.particles);
  const std::int64_t total =
      sampling::step_count(composite.moved_by(sampler, a.particles), annealed) * ((a.count + batch - 1) / batch);
  std::int64_t done = 0, non_finite = 0;
  double accepted = 0, counted = 0;
  request.on_step = [&](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains&) {
    if (interrupted()) throw sampling::Stop();
    non_finite += info.non_finite;
    if (info.proposes && 2 * p.step >= p.total) accepted += info.accepted_share, ++counted;
    console->progress("composing", ++done, total);
  };
  const model::Samples samples = composite.sample(request, a.particles);
  const std::int64_t count = samples.x.size(0);
  if (count == 0) throw UserError(nothing);
  if (non_finite > 0)
    console->message(fmt::format(
        "warning: {} steps of chains met energies or gradients that are not finite and stood still", non_finite));
  if (!samples.x.isfinite().all().item<bool>())
    throw UserError(
        "samples ran away to numbers that are not finite: an energy is, or what is taken away is stronger than the "
        "rest");
  write(out, composite, samples, provenance({a.expression, "", seed}));
  nlohmann::ordered_json json{{"samples", a.out},
                              {"expression", a.expression},
                              {"count", count},
                              {"seed", seed},
                              {"correct", moved.correct.empty() ? sampler.kernel : moved.correct},
                              {"steps", sampling::step_count(composite.moved_by(sampler, a.particles), annealed)},
                              {"gradients", composite.gradient_count(sampler, a.particles)},
                              {"particles", a.particles},
                              {"seconds", now() - begun},
                              {"non_finite", non_finite}};
  for (const auto& z : log_z) json["log_z"].push_back({{"of", z.part}, {"log_z", z.value}, {"deviation", z.deviation}});
  if (annealed) json["weight"] = composite.range()->weight;
  if (counted > 0) json["accepted"] = accepted / counted;
  if (count < a.count) json["interrupted"] = true;
  keep(a, seed, json, composite, samples.x);
  if (a.json) {
    fmt::print("{}\n", json_text(json));
    return;
  }
  if (count < a.count) console->message(told_of_part(count, a.count, "samples"));
  const std::string share = counted > 0 ? fmt::format(", {:.0f} % accepted", 100 * accepted / counted) : std::string();
  console->message(fmt::format("{} samples of {} after {} gradients of each energy{}: {}", count, a.expression,
                               composite.gradient_count(sampler, a.particles), share, a.out));
}

}  // namespace

void add_compose(CLI::App& app) {
  auto* command = app.add_subcommand("compose", "draw samples of several models' energies at once: and, or, not");
  auto a = std::make_shared<ComposeArguments>();
  a->command = command;
  command->footer(
      "Examples:\n"
      "  igebm compose 'fashion-mnist(shirt) & fashion-mnist(bag)'\n"
      "  igebm compose 'mnist(3) | mnist(8)' --out digits.png\n"
      "  igebm compose 'two-moons & !gaussian(1, 0, .5)'\n"
      "  igebm compose 'fashion-mnist(shirt) \\ fashion-mnist(coat)'\n"
      "  igebm compose 'a(2) & 0.5*b' --model a=runs/one --model b=runs/other\n"
      "& adds energies, | mixes densities, ! takes one away; 2*a weighs. Names: models (igebm models), those that "
      "--model\n"
      "gives, and gaussian(x, y, deviation), ring(radius, width), box(left, lower, right, upper) in the plane.");
  command->add_option("EXPRESSION", a->expression, "what to draw")->required();
  command
      ->add_option("--model", a->models,
                   "NAME=RUN: a run, checkpoint or model by a name of yours; NAME=FILE.pt: a constraint, a TorchScript "
                   "module that gives each input an energy; may be given often")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--given", a->given,
                      "a term that all parts of an \"and\" share, such as mnist(none): E = E_given + sum of (E_i - "
                      "E_given); or own: each "
                      "part's own model, asked for none in particular");
  command->add_option(
      "--base", a->base,
      "with --given own: a term that says what pictures are at all, such as shape(none), instead of the "
      "parts' own models by their weights");
  command->add_option("--not", a->negation, "what ! multiplies its energy by")
      ->capture_default_str()
      ->check(above_zero());
  command
      ->add_option("--correct", a->moved.correct,
                   "what moves chains at each noise level, beside the steps from one to the next (default: mala in the "
                   "plane, ula of pictures): ula (Langevin), "
                   "mala, hmc or none")
      ->check(CLI::IsMember({"ula", "mala", "hmc", "none"}));
  command->add_option("--moves", a->moved.moves, "of it at each level (default: 10 in the plane, 4 of pictures)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command
      ->add_option(
          "--particles", a->particles,
          "chains for each sample, weighed by how well the parts of an \"and\" agree on them, of which one is kept; "
          "with --given")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}));
  command
      ->add_option("--step-share", a->moved.step_share,
                   "of sigma^2 that a step's size is at a noise level, of Langevin steps (default: the first model's)")
      ->check(number_in(1e-6, 10.0));
  command
      ->add_option("--levels", a->moved.levels,
                   "noise levels (default: 60 in the plane, of pictures the first model's)")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{100000}));
  command->add_option("--count", a->count, "how many samples")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10000000}));
  add_seed_option(*command, a->seed, "0");
  command->add_option("--out", a->out, "FILE.png (a grid, or the plane) or FILE.npz (arrays)")->capture_default_str();
  add_weights_option(*command, a->weights);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("compose", [&] { compose(*a); }); });
}

}  // namespace igebm::tools
