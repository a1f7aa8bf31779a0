#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/evaluation/fidelity.h"
#include "igebm/evaluation/records.h"
#include "igebm/generation/restoration.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/model/model.h"
#include "igebm/sampling/budget.h"
#include "tools/asked.h"
#include "tools/commands.h"
#include "tools/pictures.h"

/// inpaint, denoise and restore: pictures that are not whole, by a model's energy.
namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* nothing_written = "interrupted, nothing is written: no picture was finished";

struct RestoreArguments {
  std::string run, label, condition, out, weights = "average", device;
  std::vector<std::string> pictures;
  std::int64_t samples = 5, seed = -1, steps = 4, levels = 0;
  bool independent = false;
  bool json = false, damage = false;
  std::string mask = "bottom", noise, change;
  double deviation = 0.01;
};

/// What pictures are restored as: what is asked for; their own class, where they have one; or none in particular.
nn::Condition condition_of(const RestoreArguments& a, const model::ConditionSpec& spec,
                           const evaluation::Records& records) {
  if (nn::Condition asked = asked_condition(spec, a.label, a.condition); !asked.empty()) return asked;
  if (spec.classes > 0 && records.labels.defined()) return {.classes = records.labels};
  if (spec.optional_condition || (spec.classes == 0 && spec.values == 0)) return {};
  if (spec.values > 0) throw UserError("this model needs its numbers; say --condition");
  throw UserError("this model needs a class; say --label");
}

/// A model opened for it, what it is asked, and how it is drawn with.
struct Restoring {
  const RestoreArguments& a;
  model::Model model;
  generation::RestorationOptions options;
  std::unique_ptr<Observer> console;
  std::uint64_t seed = 0;
  std::int64_t gradients = 0, done = 0, total = 0;
  std::int64_t part = 0;  // interrupted: how many pictures there were
  double begun = now();

  explicit Restoring(const RestoreArguments& given)
      : a(given), model(model::Model::open(a.run, {.weights = weights_of(a.weights), .device = a.device})) {
    if (space().kind != model::SampleSpace::Kind::image)
      throw UserError(fmt::format("{}: its records are no pictures", a.run));
    check_out(a.out, space().shape);
    check_not_input(a.out, a.pictures);
    seed = a.seed >= 0 ? static_cast<std::uint64_t>(a.seed) : 0;
  }
  const model::SampleSpace& space() const { return model.space(); }

  void prepare(const evaluation::Records& records, const char* doing) {
    io::check_writable(a.out);
    const bool annealed = model.condition_spec().noise.has_value();
    const sampling::SamplerOptions sampler = generation::restoration_sampler(model, a.steps, a.levels);
    options = {.samples = a.samples,
               .antithetic = !a.independent,
               .condition = condition_of(a, model.condition_spec(), records),
               .seed = seed,
               .sampler = sampler};
    gradients = sampling::gradient_count(sampler, annealed);
    total =
        sampling::step_count(sampler, annealed) * ((records.size() * a.samples + options.batch - 1) / options.batch);
    console = make_stopping_progress(a.json);
    catch_interrupts();
    options.on_step = [this, doing](sampling::Position, const sampling::StepInfo&, const sampling::Chains&) {
      console->progress(doing, ++done, total);
    };
  }

  /// Of the first pictures, as many as are finished where the work was interrupted.
  evaluation::Records of_finished(const evaluation::Records& all, const at::Tensor& answers) {
    const std::int64_t count = answers.size(0);
    if (count == 0) throw UserError(nothing_written);
    if (count < all.size()) part = all.size();
    evaluation::Records some{.x = all.x.slice(0, 0, count)};
    if (all.labels.defined()) some.labels = all.labels.slice(0, 0, count);
    return some;
  }

  /// restored (N, samples, ...), shown (N, ...) of the model's size, originals where there are such.
  void write(const at::Tensor& originals, const at::Tensor& shown, const at::Tensor& restored, const char* key,
             const at::Tensor& given) const {
    const fs::path out(a.out);
    const io::Texts texts = provenance({a.run, model.step(), seed});
    if (out.has_parent_path()) io::make_folder(out.parent_path());
    if (out.extension() == ".npz") {
      std::map<std::string, at::Tensor> arrays{{"images", restored}, {key, given}};
      if (originals.defined()) arrays["originals"] = originals;
      io::write_npz(out, arrays, texts);
      return;
    }
    std::vector<at::Tensor> columns;
    if (originals.defined()) columns.push_back(originals.unsqueeze(1));
    columns.push_back(shown.unsqueeze(1)), columns.push_back(restored);
    const at::Tensor rows = at::cat(columns, 1);
    io::write_png(out, io::grid(rows.flatten(0, 1), rows.size(1)), texts);
  }

  /// One JSON object, or `message`.
  void report(nlohmann::ordered_json json, const std::string& message) const {
    json["gradients"] = gradients, json["seconds"] = now() - begun, json["seed"] = seed;
    if (part > 0) json["interrupted"] = true;
    if (part > 0 && !a.json) console->message(told_of_part(json.at("pictures").get<std::int64_t>(), part, "pictures"));
    if (a.json) {
      fmt::print("{}\n", json_text(json));
    } else {
      console->message(message);
    }
  }
};

void inpaint(const RestoreArguments& a) {
  check_out(a.out);
  Restoring r(a);
  const model::SampleSpace& space = r.space();
  const at::Tensor known = generation::read_mask(a.mask, space.shape, r.seed), missing = known.logical_not();
  const evaluation::Records all = read_pictures(a.pictures, r.model, space.shape);
  r.prepare(all, "completing");
  const at::Tensor drawn = space.to_unit(generation::inpaint(r.model, space.from_unit(all.x), known, r.options));
  const evaluation::Records records = r.of_finished(all, drawn);
  // Known pixels are the input's as it was, not as it comes back from the model's range.
  const at::Tensor given = records.x.unsqueeze(1), completions = at::where(known, given, drawn);
  // What a constant makes of it: the mean of what is known of each picture.
  const at::Tensor shares = known.to(at::kFloat), fill = (records.x * shares).sum({1, 2, 3}, true) / shares.sum();
  const double single = evaluation::psnr(completions, given, missing),
               of_mean = evaluation::psnr(completions.mean(1), records.x, missing),
               of_fill = evaluation::psnr(fill, records.x, missing);
  r.write(records.x, at::where(known, records.x, at::full({}, 0.5F)), completions, "known", known);
  r.report(
      {{"completions", a.out},
       {"pictures", records.size()},
       {"samples", a.samples},
       {"mask", a.mask},
       {"psnr", single},
       {"psnr_of_mean", of_mean},
       {"psnr_of_mean_fill", of_fill}},
      fmt::format("{} of each of {} pictures: {}\nPSNR where they were not known: {:.2f} dB, of their mean {:.2f}; "
                  "of a constant {:.2f}",
                  a.samples, records.size(), a.out, single, of_mean, of_fill));
}

/// "gaussian:.2" as its name and number.
std::pair<std::string, double> named_number(const std::string& text, const char* option, const char* expected) {
  const auto colon = text.find(':');
  const auto number = io::number_of(colon == std::string::npos ? "" : text.substr(colon + 1));
  if (!number) throw UserError(fmt::format("{} {}: expected {}", option, text, expected));
  return {text.substr(0, colon), *number};
}

at::Tensor numbers_of(const at::Tensor& like, std::uint64_t seed, bool normal) {
  at::Tensor out = at::empty(like.sizes(), at::kFloat);
  const std::int64_t elements = out.numel() / std::max<std::int64_t>(1, out.size(0));
  for (std::int64_t i = 0; i < out.size(0); ++i) {
    const std::span<float> row{out.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)};
    const RandomPlace place{seed, Purpose::damage, static_cast<std::uint64_t>(i), normal ? 0U : 1U};
    normal ? random_normal(place, row) : random_uniform(place, row);
  }
  return out;
}

/// How pictures were, or are to be, made worse, in [0, 1], and how they are restored.
struct Damage {
  std::vector<std::int64_t> shape;  // of what is given
  std::function<at::Tensor(const at::Tensor&)> apply;
  std::function<at::Tensor(const at::Tensor& y, const generation::RestorationOptions&)> restore;
};

Damage noise_of(const Restoring& r) {
  const auto named = named_number(r.a.noise, "--noise", "gaussian:DEVIATION or salt:PROBABILITY");
  const std::string kind = named.first;
  const double amount = named.second;
  const model::SampleSpace& space = r.space();
  const std::uint64_t seed = r.seed;
  if (kind == "gaussian" && amount > 0 && amount <= 10) {
    return {space.shape, [=](const at::Tensor& x) { return x + amount * numbers_of(x, seed, true); },
            [&, amount](const at::Tensor& y, const generation::RestorationOptions& options) {
              return generation::restore(r.model, y, amount * (space.high - space.low), nullptr, options);
            }};
  }
  if (kind == "salt" && amount > 0 && amount < 1) {
    return {space.shape,
            [=](const at::Tensor& x) {
              const at::Tensor u = numbers_of(x.select(1, 0).unsqueeze(1), seed, false);
              return at::where(u < amount / 2, at::zeros({}), at::where(u < amount, at::ones({}), x));
            },
            [&, amount](const at::Tensor& y, const generation::RestorationOptions& options) {
              return generation::remove_salt(r.model, y, amount, options);
            }};
  }
  throw UserError(
      fmt::format("--noise {}: expected gaussian:DEVIATION, above 0 and up to 10 (pixels are in [0, 1]), or "
                  "salt:PROBABILITY, between "
                  "0 and 1",
                  r.a.noise));
}

Damage change_of(const Restoring& r) {
  const auto named = named_number(r.a.change, "--operator", "blur:DEVIATION or downsample:FACTOR");
  const std::string kind = named.first;
  const double amount = named.second;
  const model::SampleSpace& space = r.space();
  const auto made = [&]() -> generation::LinearOperator {
    if (kind == "blur") return generation::LinearOperator::blur(amount, space.shape[1], space.shape[2]);
    if (kind == "downsample" && amount == std::floor(amount) && amount <= 1e6)
      return generation::LinearOperator::downsample(static_cast<std::int64_t>(amount), space.shape[1], space.shape[2]);
    throw UserError(fmt::format(
        "--operator {}: expected blur:DEVIATION in pixels, or downsample:FACTOR, a whole number", r.a.change));
  };
  const auto checked = [&] {
    try {
      return made();
    } catch (const UserError& e) {
      const std::string what = e.what();
      throw UserError(what.starts_with("--") ? what : fmt::format("--operator {}: {}", r.a.change, what));
    }
  };
  const auto change = std::make_shared<generation::LinearOperator>(checked());
  const double deviation = r.a.deviation;
  return {{space.shape[0], change->height(), change->width()},
          [=, seed = r.seed](const at::Tensor& x) {
            const at::Tensor y = change->apply(x);
            return y + deviation * numbers_of(y, seed, true);
          },
          [&, change, deviation](const at::Tensor& y, const generation::RestorationOptions& options) {
            return generation::restore(r.model, y, deviation * (space.high - space.low), change.get(), options);
          }};
}

void restore(const RestoreArguments& a, Damage (*damage_of)(const Restoring&)) {
  check_out(a.out);
  Restoring r(a);
  const model::SampleSpace& space = r.space();
  const Damage damage = damage_of(r);
  const bool whole = a.damage || std::ranges::all_of(a.pictures, names_records);
  if (!whole && std::ranges::any_of(a.pictures, names_records))
    throw UserError("records of the data are whole and files are not; expected one or the other, or --damage");
  // Resized, what was seen would have other noise.
  const evaluation::Records all = read_pictures(a.pictures, r.model, whole ? space.shape : damage.shape, whole);
  r.prepare(all, "restoring");
  at::Tensor y = whole ? damage.apply(all.x) : all.x;
  // What noise takes out of [0, 1] stays: it is what was seen.
  const at::Tensor seen = y * (space.high - space.low) + space.low;
  const at::Tensor restored = space.to_unit(damage.restore(seen, r.options));
  const evaluation::Records records = r.of_finished(all, restored);
  y = y.slice(0, 0, records.size());
  at::Tensor shown = y.clamp(0, 1);
  const std::int64_t factor = space.shape[1] / y.size(2);
  if (factor > 1) shown = shown.repeat_interleave(factor, 2).repeat_interleave(factor, 3);
  r.write(whole ? records.x : at::Tensor(), shown, restored, "given", y);
  nlohmann::ordered_json json{{"restored", a.out}, {"pictures", records.size()}, {"samples", a.samples}};
  std::string message = fmt::format("{} of each of {} pictures: {}", a.samples, records.size(), a.out);
  if (whole) {
    const at::Tensor truth = records.x, mean = restored.mean(1), each = restored.flatten(0, 1),
                     of_each = truth.repeat_interleave(a.samples, 0);
    const auto say = [&](const std::string& key, const char* words, const at::Tensor& x, const at::Tensor& of) {
      json["psnr" + key] = evaluation::psnr(x, of);
      message += fmt::format("{} PSNR {:.2f} dB", words, json["psnr" + key].get<double>());
      if (std::min(space.shape[1], space.shape[2]) < evaluation::ssim_window) return;
      json["ssim" + key] = evaluation::ssim(x, of);
      message += fmt::format(", SSIM {:.3f}", json["ssim" + key].get<double>());
    };
    say("", "\nSingle answers:", each, of_each);
    say("_of_mean", "\ntheir mean:    ", mean, truth);
    say("_as_given", "\nas it was given:", shown, truth);
  }
  r.report(json, message);
}

CLI::App* add_command(CLI::App& app, const std::shared_ptr<RestoreArguments>& a, const char* name, const char* what,
                      const char* out) {
  auto* command = app.add_subcommand(name, what);
  a->out = out;
  add_run_argument(*command, a->run);
  command
      ->add_option("PICTURES", a->pictures,
                   "picture files, folders of them, FILE.npz, or test:0-9 of the model's own data")
      ->required();
  return command;
}

void add_shared_options(CLI::App& command, const std::shared_ptr<RestoreArguments>& a) {
  command.add_option("--samples", a->samples, "answers to each")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command.add_flag("--independent", a->independent,
                   "answers have noise of their own (default: pairs have one noise and its negative, and their mean "
                   "errs less)");
  command.add_option(
      "--label", a->label,
      "the class they are of, or none (default: their own, of records of the data; else none in particular)");
  command.add_option("--condition", a->condition, "NAME=VALUE,… of a model of numbers");
  command.add_option("--steps", a->steps, "Langevin steps at each noise level")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command.add_option("--levels", a->levels, "noise levels (default: the model's)")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{100000}));
  add_seed_option(command, a->seed, "0");
  command.add_option("--out", a->out, "FILE.png (a grid) or FILE.npz (arrays)")->capture_default_str();
  add_weights_option(command, a->weights);
  add_device_option(command, a->device);
  add_threads_option(command);
  command.add_flag("--json", a->json, "print one JSON object");
}

/// Of those that undo what was done to pictures. `examples` end a line.
CLI::App* add_undoing(CLI::App& app, const std::shared_ptr<RestoreArguments>& a, const char* name, const char* what,
                      const char* out, const std::string& examples, Damage (*damage_of)(const Restoring&)) {
  auto* command = add_command(app, a, name, what, out);
  command->footer(
      "Examples:\n" + examples +
      "Records of the data are damaged first; files are, but for --damage, as they are. A row of the picture "
      "holds an\noriginal where there is one, what was given, and the answers.");
  command->add_flag("--damage", a->damage,
                    "files are whole, too: damage them first, and say how near the answers come");
  add_shared_options(*command, a);
  command->callback([=] { as_command(name, [&] { restore(*a, damage_of); }); });
  return command;
}

}  // namespace

void add_inpaint(CLI::App& app) {
  auto a = std::make_shared<RestoreArguments>();
  auto* command = add_command(app, a, "inpaint", "complete pictures of which a part is missing", "completed.png");
  command->footer(
      "Examples:\n"
      "  igebm inpaint mnist test:0-9 --mask bottom\n"
      "  igebm inpaint fashion-mnist mine.png --mask box:8,8,12,12 --samples 8\n"
      "A row of the picture holds an original, what was known of it, and its completions.");
  command
      ->add_option("--mask", a->mask,
                   "what is missing: bottom, top, left, right, box:X,Y,WIDTH,HEIGHT, random:SHARE or a picture, white")
      ->capture_default_str();
  add_shared_options(*command, a);
  command->callback([a] { as_command("inpaint", [&] { inpaint(*a); }); });
}

void add_denoise(CLI::App& app) {
  auto a = std::make_shared<RestoreArguments>();
  add_undoing(app, a, "denoise", "take noise out of pictures", "denoised.png",
              "  igebm denoise mnist test:0-9 --noise gaussian:.3\n"
              "  igebm denoise fashion-mnist noisy.png --noise salt:.1\n",
              noise_of)
      ->add_option("--noise", a->noise,
                   "gaussian:DEVIATION of pixels in [0, 1], or salt:PROBABILITY that a pixel was made black or white")
      ->required();
}

void add_restore(CLI::App& app) {
  auto a = std::make_shared<RestoreArguments>();
  auto* command = add_undoing(app, a, "restore", "sharpen blurred pictures, enlarge small ones", "restored.png",
                              "  igebm restore mnist test:0-9 --operator downsample:4\n"
                              "  igebm restore fashion-mnist blurred.png --operator blur:2 --noise .02\n",
                              change_of);
  command->add_option("--operator", a->change, "blur:DEVIATION in pixels, or downsample:FACTOR")->required();
  command->add_option("--noise", a->deviation, "standard deviation of what noise is in it, of pixels in [0, 1]")
      ->capture_default_str()
      ->check(number_in(1e-4, 10.0));
}

}  // namespace igebm::tools
