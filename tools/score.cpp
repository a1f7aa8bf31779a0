#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "igebm/base/error.h"
#include "igebm/evaluation/records.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/io/recipe.h"
#include "igebm/scoring/ood_sets.h"
#include "igebm/scoring/scorer.h"
#include "igebm/scoring/usual_cache.h"
#include "tools/asked.h"
#include "tools/commands.h"
#include "tools/pictures.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct ScoreArguments {
  std::string run, label, condition, map, weights = "average", device;
  std::vector<std::string> inputs, set;
  std::int64_t usual = 2000, levels = 10, level = -1;
  bool best = false, json = false;
};

constexpr std::size_t part = 64, most_in_map = 64;
constexpr std::int64_t pixel_count = 5000;  // that the Gaussian is fitted on, as evaluate ood has it

/// What is scored: a name, and where it is; an array's are many.
struct Input {
  std::string name;
  at::Tensor x;
};

using Take = std::function<void(Input)>;

/// Numbers such as ".5,-1", of a point.
std::optional<at::Tensor> point_of(const std::string& text, std::int64_t size) {
  std::vector<float> numbers;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const auto number = io::number_of(text.substr(begin, end - begin));
    if (!number || !std::isfinite(static_cast<float>(*number))) return {};
    numbers.push_back(static_cast<float>(*number)), begin = end + 1;
  }
  if (static_cast<std::int64_t>(numbers.size()) != size) return {};
  return at::tensor(numbers);
}

/// Of the model's shape.
at::Tensor picture_of(const fs::path& path, const std::vector<std::int64_t>& shape, Resized* resized = nullptr) {
  const at::Tensor x = read_picture(path, shape, true, resized);
  if (x.sizes().slice(1).vec() != shape)
    throw UserError(fmt::format("{}: {} x {} pixels, where {} x {} are expected", path.string(), x.size(3), x.size(2),
                                shape[2], shape[1]));
  return x[0];
}

bool is_array(const fs::path& path) { return path.extension() == ".npz" || path.extension() == ".npy"; }

evaluation::Records records_of(const fs::path& path, const model::SampleSpace& space) {
  evaluation::Records records = evaluation::read_records(path);
  if (records.shape() != space.shape)
    throw UserError(fmt::format("{}: inputs of shape ({}), where ({}) is expected", path.string(),
                                fmt::join(records.shape(), ", "), fmt::join(space.shape, ", ")));
  return records;
}

void read_array(const fs::path& path, const model::SampleSpace& space, const Take& take) {
  const evaluation::Records records = records_of(path, space);
  const bool pictures = space.kind == model::SampleSpace::Kind::image;
  for (std::int64_t i = 0; i < records.size(); ++i)
    take({fmt::format("{}:{}", path.string(), i),
          pictures ? records.x[i].mul(255).round().to(at::kByte) : records.x[i]});
}

/// Of a file in a folder that cannot be read: what is wrong with it. The others are scored.
using Spoilt = std::function<void(const fs::path&, const UserError&)>;

void read_input(const std::string& what, const model::Model& model, const Take& take, const Spoilt& spoilt,
                Resized& resized) {
  const model::SampleSpace& space = model.space();
  const fs::path path(what);
  if (names_records(what)) {
    const OwnRecords own = own_records(what, model);
    const std::string split = what.substr(0, what.find(':'));
    for (std::size_t i = 0; i < own.rows.size(); ++i)
      take({fmt::format("{}:{}", split, own.rows[i]), own.records.x[static_cast<std::int64_t>(i)]});
    return;
  }
  const bool pictures = space.kind == model::SampleSpace::Kind::image;
  if (is_array(path)) return read_array(path, space, take);
  if (!pictures) return take({what, point_of(what, space.shape[0]).value()});
  if (!fs::is_directory(path)) return take({what, picture_of(path, space.shape, &resized)});
  for (const fs::path& file : pictures_in(path)) {
    at::Tensor x;
    try {
      x = picture_of(file, space.shape, &resized);
    } catch (const UserError& e) {
      spoilt(file, e);
      continue;
    }
    take({file.string(), x});
  }
}

/// What is wrong with files that were named is said before the work; those in folders are read as their turn comes.
void check_inputs(const ScoreArguments& a, const model::Model& model) {
  const model::SampleSpace& space = model.space();
  for (const std::string& what : a.inputs) {
    if (names_records(what)) {
      own_records(what, model);
      continue;
    }
    const bool pictures = space.kind == model::SampleSpace::Kind::image;
    if (!pictures && !is_array(what)) {
      if (point_of(what, space.shape[0])) continue;
      throw UserError(
          fmt::format("{}: expected {} finite numbers, as in .5,1, or an .npz of points", what, space.shape[0]));
    }
    if (!fs::exists(what)) throw UserError(fmt::format("{}: no such file or folder", what));
    // Files are read again when their turn comes: that takes far less than their score.
    if (is_array(what)) {
      records_of(what, space);
    } else if (fs::is_directory(what)) {
      std::int64_t others = 0;
      pictures_in(what, &others);
      if (others > 0) fmt::print(stderr, "{}: {} files are no pictures by their names, and left out\n", what, others);
    } else {
      picture_of(what, space.shape);
    }
  }
}

/// Messages and progress beside a table on standard output.
class Beside : public Observer {
 public:
  void message(std::string_view text) override { fmt::print(stderr, "{}\n", text); }
  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    if (interrupted()) throw UserError("interrupted");
    const std::int64_t tenth = 10 * done / std::max<std::int64_t>(1, total);
    if (stage != stage_ || tenth != tenth_) fmt::print(stderr, "{}: {} of {}\n", stage, done, total);
    stage_ = stage, tenth_ = tenth;
  }

 private:
  std::string stage_;
  std::int64_t tenth_ = -1;
};

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

/// Writes scores as they come.
struct Table {
  const ScoreArguments& a;
  double log_z;  // NaN: none
  std::int64_t rows = 0, missing = 0;

  void begin(const nlohmann::ordered_json& about) const {
    if (a.json) {
      const std::string text = json_text(about);
      fmt::print("{},\"scores\":[", text.substr(0, text.size() - 1));
    } else {
      fmt::print("input,energy{},gradient,anomaly,p\n", std::isnan(log_z) ? "" : ",log_p");
    }
  }
  void add(const std::vector<Input>& inputs, const scoring::Scores& s) {
    for (std::size_t i = 0; i < inputs.size(); ++i, ++rows) {
      const auto at = [&](const at::Tensor& of) { return of[static_cast<std::int64_t>(i)].item<double>(); };
      nlohmann::ordered_json row{{"input", inputs[i].name}, {"energy", at(s.energy)}};
      if (!std::isnan(log_z)) row["log_p"] = -at(s.energy) - log_z;
      row["gradient"] = at(s.gradient_norm);
      row["anomaly"] = at(s.anomaly), row["p"] = at(s.p);
      if (a.json) {
        fmt::print("{}{}", rows > 0 ? "," : "", json_text(row));
        continue;
      }
      std::string line = quoted(inputs[i].name);
      for (const auto& [key, value] : row.items()) {
        if (key != "input") line += fmt::format(",{:.7g}", value.get<double>());
      }
      fmt::print("{}\n", line);
    }
    std::fflush(stdout);
  }
  void spoilt(const fs::path& file, const std::string& what) {
    fmt::print(stderr, "{}\n", what);
    if (a.json) fmt::print("{}{}", rows > 0 ? "," : "", json_text({{"input", file.string()}, {"error", what}}));
    ++rows, ++missing;
  }
  void end() const {
    if (a.json) fmt::print("]}}\n");
  }
};

/// Where inputs are odd: each beside the size of sigma dE/dx at its pixels. Yellow is `full` and more, black 0.
at::Tensor map_of(const std::vector<at::Tensor>& pictures, const std::vector<at::Tensor>& gradients, double full) {
  const at::Tensor shown = at::stack(pictures).to(at::kFloat).div(255),
                   size = (at::stack(gradients).square().sum(1).sqrt() / full).clamp(1e-6, 1);
  const std::int64_t rows = size.size(1), width = size.size(2);
  // All as one picture with a row of the greatest, by which its colours go.
  const at::Tensor tall = at::cat({size.reshape({-1, width}), at::ones({1, width})});
  const at::Tensor heat = io::density(-tall.log(), at::zeros({0, 2}), 1).permute({2, 0, 1}).to(at::kFloat).div(255);
  std::vector<at::Tensor> columns;
  for (std::int64_t i = 0; i < shown.size(0); ++i) {
    columns.push_back(shown[i].expand({3, rows, width}));
    columns.push_back(heat.slice(1, i * rows, (i + 1) * rows));
  }
  return io::grid(at::stack(columns), 8, 4);
}

/// Fitted, or as an earlier call has fitted it.
scoring::Scorer scorer_of(const ScoreArguments& a, const model::Model& model) {
  const scoring::ScorerOptions options{.condition = asked_condition(model.condition_spec(), a.label, a.condition),
                                       .levels = a.levels,
                                       .levels_compare = levels_compare(a.run, a.set)};
  scoring::Scorer scorer(model, options);
  const auto levels = static_cast<std::int64_t>(scorer.sigmas().size());
  if (a.level >= levels) throw UserError(fmt::format("--level {}: expected a level from 0 to {}", a.level, levels - 1));
  const fs::path kept = scoring::usual_file(a.run, weights_of(a.weights), a.best, model.settings(), options, a.usual);
  if (auto usual = scoring::read_usual(kept)) {
    scorer.take(std::move(*usual));
    return scorer;
  }
  const auto own = scoring::load_own(model, scoring::Own::held_out, a.usual, 0);
  const auto pixels = scoring::load_own(model, scoring::Own::training, pixel_count, 0);
  Beside beside;
  const std::string what = fmt::format("fitting on inputs {}{}", own.name, kept.empty() ? "" : ", once");
  scorer.fit(own.x, pixels.x, [&](std::int64_t done, std::int64_t total) { beside.progress(what, done, total); });
  try {
    scoring::write_usual(kept, scorer.usual());
  } catch (const UserError& e) {
    fmt::print(stderr, "note: what was fitted is not kept, so the next call fits again: {}\n", e.what());
  }
  return scorer;
}

void score(const ScoreArguments& a) {
  const at::NoGradGuard no_grad;
  if (a.level >= 0 && a.map.empty()) throw UserError("--level: expected with --map, whose level it is");
  const model::Model model = open_model(
      a.run,
      {.weights = weights_of(a.weights), .best = a.best, .device = a.device, .precision = engine::Precision::f32},
      a.set);
  const model::SampleSpace& space = model.space();
  check_inputs(a, model);
  if (!a.map.empty()) {
    if (space.kind != model::SampleSpace::Kind::image) throw UserError("--map: these inputs are no pictures");
    if (fs::path(a.map).extension() != ".png") throw UserError(fmt::format("--map {}: expected FILE.png", a.map));
    if (const fs::path folder = fs::path(a.map).parent_path(); !folder.empty()) io::make_folder(folder);
    io::check_writable(a.map);
  }
  catch_interrupts();
  const scoring::Scorer scorer = scorer_of(a, model);
  const std::int64_t level = a.map.empty()  ? -1
                             : a.level >= 0 ? a.level
                                            : static_cast<std::int64_t>(scorer.sigmas().size()) / 2;
  std::vector<Input> inputs;
  std::vector<at::Tensor> shown, gradients;
  Resized resized;
  Table table{.a = a, .log_z = scorer.usual().log_z};
  table.begin({{"model", a.run}, {"sigma", scorer.sigmas().front()}, {"usual", scorer.usual().anomaly.size(0)}});
  const auto flush = [&] {
    if (inputs.empty()) return;
    if (interrupted()) throw UserError("interrupted; the rows before are whole");
    std::vector<at::Tensor> x;
    for (const Input& input : inputs) x.push_back(input.x);
    const scoring::Scores scores = scorer.of(at::stack(x), level);
    table.add(inputs, scores);
    for (std::size_t i = 0; i < x.size() && !a.map.empty() && shown.size() < most_in_map; ++i)
      shown.push_back(x[i]), gradients.push_back(scores.profile.gradient[static_cast<std::int64_t>(i)]);
    inputs.clear();
  };
  try {
    for (const std::string& what : a.inputs) {
      read_input(
          what, model,
          [&](Input input) {
            inputs.push_back(std::move(input));
            if (inputs.size() == part) flush();
          },
          [&](const fs::path& file, const UserError& e) {
            flush();
            table.spoilt(file, e.what());
          },
          resized);
    }
    flush();
  } catch (...) {
    table.end();
    throw;
  }
  table.end();
  resized.tell(space.shape);
  if (!a.map.empty())
    io::write_png(a.map, map_of(shown, gradients, 8 * scorer.usual_gradient(level)), provenance({a.run, model.step()}));
  if (table.missing > 0)
    throw UserError(
        fmt::format("{} of {} pictures could not be read; the others are scored", table.missing, table.rows));
}

}  // namespace

void add_score(CLI::App& app) {
  auto* command =
      app.add_subcommand("score", "how odd inputs are to a model: energies, and p-values among training data");
  auto a = std::make_shared<ScoreArguments>();
  command->footer(
      "Examples:\n"
      "  igebm score fashion-mnist shoe.png bag.png\n"
      "  igebm score cifar10 photographs/ --json --map odd.png\n"
      "  igebm score mnist test:0-9,1000\n"
      "  igebm score two-moons .5,.2 samples.npz\n"
      "  igebm score two-moons -- -.5,.2 (a number below 0 first: after --)");
  add_run_argument(*command, a->run);
  command
      ->add_option(
          "INPUTS", a->inputs,
          "picture files, folders of them, FILE.npz, test:0-9 of the model's own data; points: X,Y or FILE.npz")
      ->required();
  command->add_option("--label", a->label, "energies of this class (default: of none in particular)");
  command->add_option("--condition", a->condition, "NAME=VALUE,… of a model of numbers");
  command->add_option("--usual", a->usual, "training inputs, held out if there are such, that scores are fitted on")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{10000000}));
  command->add_option("--levels", a->levels, "noise levels of the anomaly score")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}));
  command->add_option("--map", a->map,
                      "FILE.png: the first 64 pictures, each beside the size of its gradient, where it is odd");
  command->add_option("--level", a->level, "which noise level the map shows, from 0, the least (default: the middle)")
      ->check(from_zero());
  add_best_option(*command, a->best);
  add_weights_option(*command, a->weights);
  add_recipe_options(*command, a->set);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object, an entry for each input");
  command->callback([a] { as_command("score", [&] { score(*a); }); });
}

}  // namespace igebm::tools
