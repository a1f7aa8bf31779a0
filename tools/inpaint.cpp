#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/data/data.h"
#include "igebm/data/resize.h"
#include "igebm/evaluation/records.h"
#include "igebm/generation/restoration.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/model.h"
#include "igebm/sampling/budget.h"
#include "tools/commands.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct InpaintArguments {
  std::string run, mask = "bottom", label, out = "completed.png", weights = "average", device;
  std::vector<std::string> pictures;
  std::int64_t samples = 5, seed = -1, steps = 4, levels = 0;
  bool json = false;
};

/// "test:0-4,9": rows of the split.
std::vector<std::int64_t> rows_of(const std::string& text, std::int64_t size, const std::string& what) {
  std::vector<std::int64_t> rows;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto number = [&](const std::string& digits) {
      std::int64_t value = -1;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size() || value < 0 || value >= size)
        throw UserError(fmt::format("{}: expected numbers of records from 0 to {}, as in test:0-4,9", what, size - 1));
      return value;
    };
    const auto dash = part.find('-');
    const std::int64_t first = number(part.substr(0, dash)),
                       last = dash == std::string::npos ? first : number(part.substr(dash + 1));
    for (std::int64_t row = first; row <= last; ++row) rows.push_back(row);
  }
  if (rows.empty()) throw UserError(fmt::format("{}: names no records", what));
  return rows;
}

/// Pictures in [0, 1] of the model's size, as files, an npz, or records of the model's own data.
evaluation::Records read_pictures(const std::vector<std::string>& what, const model::Model& model) {
  const auto& shape = model.space().shape;
  std::vector<at::Tensor> pictures, labels;
  for (const std::string& each : what) {
    const auto colon = each.find(':');
    const std::string split = each.substr(0, colon);
    if (colon != std::string::npos && (split == "test" || split == "train") && !fs::exists(each)) {
      data::Options options = model.settings().data;
      if (split == "test") options.count = 0;
      const data::Dataset set = data::load(options, split == "test" ? data::Split::test : data::Split::train, 0);
      const at::Tensor rows = at::tensor(rows_of(each.substr(colon + 1), set.size(), each), at::kLong);
      const auto records = evaluation::records_of(set, rows, {});
      pictures.push_back(records.x.to(at::kFloat).div(255));
      if (records.labels.defined()) labels.push_back(records.labels);
    } else if (fs::path(each).extension() == ".npz" || fs::path(each).extension() == ".npy") {
      const auto records = evaluation::read_records(each);
      pictures.push_back(records.x);
      if (records.labels.defined()) labels.push_back(records.labels);
    } else {
      const at::Tensor decoded = io::decode_picture(io::read_file(each), shape[0], each);
      pictures.push_back(
          data::fit(decoded.permute({2, 0, 1}).unsqueeze(0).contiguous(), shape[0], shape[1]).to(at::kFloat).div(255));
    }
    if (pictures.back().sizes().slice(1).vec() != shape)
      throw UserError(fmt::format("{}: pictures of shape ({}), where the model's have ({})", each,
                                  fmt::join(pictures.back().sizes().slice(1), ", "), fmt::join(shape, ", ")));
  }
  evaluation::Records all{.x = at::cat(pictures)};
  if (labels.size() == pictures.size()) all.labels = at::cat(labels);
  return all;
}

/// What completions are conditioned on: the label asked for; none; or the pictures' own.
nn::Condition condition_of(const InpaintArguments& a, const model::ConditionSpec& spec,
                           const evaluation::Records& records) {
  if (!a.label.empty()) return model::condition_of_class(spec, a.label);
  if (spec.optional_condition || (spec.classes == 0 && spec.values == 0)) return {};
  if (spec.values > 0) throw UserError("this model is conditional on numbers, which inpainting does not know");
  if (!records.labels.defined()) throw UserError("this model needs a class; say --label");
  return {.classes = records.labels};
}

/// Peak signal-to-noise ratio in dB of what is missing: pictures in [0, 1], `missing` bool.
double psnr(const at::Tensor& x, const at::Tensor& truth, const at::Tensor& missing) {
  const double error = (x - truth).square().masked_select(missing.expand(x.sizes())).mean().item<double>();
  return -10 * std::log10(std::max(error, 1e-12));
}

void inpaint(const InpaintArguments& a) {
  const fs::path out(a.out);
  check_out(a.out);
  const model::Model model = model::Model::open(a.run, {.weights = weights_of(a.weights), .device = a.device});
  const model::SampleSpace& space = model.space();
  if (space.kind != model::SampleSpace::Kind::image)
    throw UserError(fmt::format("{}: its records are no pictures", a.run));
  check_out(a.out, space.shape);
  const std::uint64_t seed = a.seed >= 0 ? static_cast<std::uint64_t>(a.seed) : 0;
  const at::Tensor known = generation::read_mask(a.mask, space.shape, seed), missing = known.logical_not();
  const evaluation::Records records = read_pictures(a.pictures, model);
  io::check_writable(a.out);
  sampling::SamplerOptions sampler =
      sampling::within_budget(model.settings().sampling, model.condition_spec().noise.has_value());
  if (model.condition_spec().noise) {
    sampler.steps = a.steps;
    if (a.levels > 0) sampler.annealing.levels = a.levels;
  }
  generation::InpaintRequest request{.x = space.from_unit(records.x),
                                     .known = known,
                                     .samples = a.samples,
                                     .condition = condition_of(a, model.condition_spec(), records),
                                     .seed = seed,
                                     .sampler = sampler};
  const auto console = a.json ? std::make_unique<Observer>() : make_console();
  catch_interrupts();
  const double begun = now();
  const std::int64_t chains = records.size() * a.samples,
                     total = sampling::step_count(sampler, model.condition_spec().noise.has_value()) *
                             ((chains + request.batch - 1) / request.batch);
  std::int64_t done = 0;
  request.on_step = [&](sampling::Position, const sampling::StepInfo&, const sampling::Chains&) {
    if (interrupted()) throw UserError("interrupted, nothing is written");
    console->progress("completing", ++done, total);
  };
  // Known pixels are the input's as it was, not as it comes back from the model's range.
  const at::Tensor given = records.x.unsqueeze(1),
                   completions = at::where(known, given, space.to_unit(generation::inpaint(model, request)));
  const at::Tensor mean = completions.mean(1);
  // What a constant makes of it: the mean of what is known of each picture.
  const at::Tensor shares = known.to(at::kFloat), fill = (records.x * shares).sum({1, 2, 3}, true) / shares.sum();
  const double single = psnr(completions, given.expand(completions.sizes()), missing),
               of_mean = psnr(mean, records.x, missing),
               of_fill = psnr(fill.expand(records.x.sizes()), records.x, missing);
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  if (out.extension() == ".npz") {
    io::write_npz(out, {{"images", completions}, {"originals", records.x}, {"known", known}});
  } else {
    const at::Tensor damaged = at::where(known, records.x, at::full({}, 0.5F));
    const at::Tensor rows = at::cat({given, damaged.unsqueeze(1), completions}, 1).flatten(0, 1);
    io::write_png(out, io::grid(rows, 2 + a.samples));
  }
  if (a.json) {
    fmt::print("{}\n",
               json_text({{"completions", a.out},
                          {"pictures", records.size()},
                          {"samples", a.samples},
                          {"mask", a.mask},
                          {"psnr", single},
                          {"psnr_of_mean", of_mean},
                          {"psnr_of_mean_fill", of_fill},
                          {"gradients", sampling::gradient_count(sampler, model.condition_spec().noise.has_value())},
                          {"seconds", now() - begun},
                          {"seed", seed}}));
    return;
  }
  console->message(
      fmt::format("{} of each of {} pictures: {}\nPSNR where they were not known: {:.2f} dB, of their mean {:.2f}; of "
                  "a constant {:.2f}",
                  a.samples, records.size(), a.out, single, of_mean, of_fill));
}

}  // namespace

void add_inpaint(CLI::App& app) {
  auto* command = app.add_subcommand("inpaint", "complete pictures of which a part is missing");
  auto a = std::make_shared<InpaintArguments>();
  command->footer(
      "Examples:\n"
      "  igebm inpaint mnist test:0-9 --mask bottom\n"
      "  igebm inpaint fashion-mnist mine.png --mask box:8,8,12,12 --samples 8\n"
      "A row of the picture holds an original, what was known of it, and its completions.");
  command->add_option("RUN", a->run, "a run's folder, one of its checkpoints, or a model's name (igebm models)")
      ->required();
  command->add_option("PICTURES", a->pictures, "picture files, FILE.npz, or test:0-9 of the model's own data")
      ->required();
  command
      ->add_option("--mask", a->mask,
                   "what is missing: bottom, top, left, right, box:X,Y,WIDTH,HEIGHT, random:SHARE or a picture, white")
      ->capture_default_str();
  command->add_option("--samples", a->samples, "completions of each")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--label", a->label,
                      "the class to complete as (default: no class in particular, or the pictures' own)");
  command->add_option("--steps", a->steps, "Langevin steps at each noise level")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}));
  command->add_option("--levels", a->levels, "noise levels (default: the model's)")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{100000}));
  add_seed_option(*command, a->seed, "0");
  command->add_option("--out", a->out, "FILE.png (a grid) or FILE.npz (arrays)")->capture_default_str();
  add_weights_option(*command, a->weights);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("inpaint", [&] { inpaint(*a); }); });
}

}  // namespace igebm::tools
