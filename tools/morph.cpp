#include "igebm/generation/morph.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/evaluation/features.h"
#include "igebm/io/files.h"
#include "igebm/io/npz.h"
#include "igebm/io/picture.h"
#include "igebm/model/model.h"
#include "tools/asked.h"
#include "tools/commands.h"
#include "tools/pictures.h"

namespace igebm::tools {
namespace {

namespace fs = std::filesystem;

struct MorphArguments {
  std::string run, as, along, classifier, ascent = "flow", out = "morphs.png", weights = "average", device;
  std::vector<std::string> from, to;
  std::int64_t count = 8, directions = 4, steps = -1, seed = -1;
  double kept = 0, reach = 4;  // kept 0: not given
  bool stiffest = false, json = false;
  const CLI::App* command = nullptr;  // which options were given
  generation::MorphOptions options;
};

/// Is it a file or records of the data, and not what pictures are asked to be?
bool names_pictures(const std::string& what) {
  return names_records(what) || fs::exists(what) || io::has_picture_name(what) || what.ends_with(".npz") ||
         what.ends_with(".npy");
}
bool name_pictures(const std::vector<std::string>& what) { return std::ranges::any_of(what, names_pictures); }

/// LABEL, NAME=VALUE or none.
nn::Condition condition_named(const model::ConditionSpec& spec, const std::string& text, const char* option) {
  try {
    if (spec.values == 0) return model::condition_of_class(spec, text);
    nn::Condition condition = model::condition_with(spec, text, 1);
    tell_notes(model::beyond_data(spec, condition));
    return condition;
  } catch (const UserError& e) {
    throw UserError(fmt::format("{} {}: {}", option, text, e.what()));
  }
}

/// Pictures in the model's range, and what they are of.
struct Pictures {
  at::Tensor x;
  nn::Condition condition;
};

/// Of those that are given: what --as says, their own class, or none in particular.
Pictures given_pictures(const MorphArguments& a, const model::Model& model, const std::vector<std::string>& what) {
  const model::ConditionSpec& spec = model.condition_spec();
  const evaluation::Records records = read_pictures(what, model, model.space().shape);
  Pictures given{model.space().from_unit(records.x), {}};
  if (!a.as.empty()) {
    given.condition = condition_named(spec, a.as, "--as");
  } else if (spec.classes > 0 && records.labels.defined()) {
    given.condition.classes = records.labels;
  } else if (!spec.optional_condition && (spec.classes > 0 || spec.values > 0)) {
    throw UserError("this model needs to know what the pictures are of; say --as");
  }
  return given;
}

Pictures first_pictures(const MorphArguments& a, const model::Model& model, Observer& console) {
  if (name_pictures(a.from)) return given_pictures(a, model, a.from);
  if (a.from.size() != 1) throw UserError("--from: expected pictures, or one class or NAME=VALUE,…");
  if (!a.as.empty()) throw UserError("--as tells what given pictures are of; these are drawn as --from says");
  Pictures drawn{{}, condition_named(model.condition_spec(), a.from[0], "--from")};
  drawn.x = generation::draw_pictures(model, drawn.condition, a.count, a.options.seed,
                                      [&](sampling::Position p, const sampling::StepInfo&, const sampling::Chains&) {
                                        console.progress("drawing", p.step + 1, p.total);
                                      });
  return drawn;
}

/// Energies (N, frames) at the least noise level, of no class in particular where the model knows that.
at::Tensor energies_of(const model::Model& model, const at::Tensor& frames) {
  const auto energy = model.energy();
  return energy->energy(frames.flatten(0, 1).to(model.device())).cpu().view({frames.size(0), frames.size(1)});
}

struct Result {
  at::Tensor frames;   // (rows, frames, shape...) in the model's range
  nn::Condition goal;  // of the last frame; empty: none
  generation::Morphs morphs;
  nlohmann::ordered_json json;
  std::string message;
};

Result traverse(const MorphArguments& a, const model::Model& model, const Pictures& from) {
  if (a.along != "hessian") throw UserError(fmt::format("--along {}: expected hessian", a.along));
  generation::LanczosOptions lanczos{.count = a.directions, .least = !a.stiffest};
  lanczos.steps = std::max(lanczos.steps, a.directions);
  lanczos.seed = a.options.seed.value_or(0);
  const auto found = generation::traverse(model, from.x, from.condition, lanczos, a.reach, a.options);
  Result r{.frames = found.morphs.frames.flatten(0, 1), .morphs = found.morphs};
  // In units of 1 / sigma^2, the greatest that noise leaves.
  const double unit = found.morphs.sigma > 0 ? found.morphs.sigma * found.morphs.sigma : 1;
  auto values = nlohmann::ordered_json::array();
  for (std::int64_t i = 0; i < found.along.values.size(0); ++i) {
    const at::Tensor row = (found.along.values[i] * unit).contiguous();
    values.push_back(std::vector<double>(row.data_ptr<double>(), row.data_ptr<double>() + row.numel()));
  }
  const double residual = found.along.residuals.max().item<double>() * unit;
  r.json = {{"eigenvalues", values}, {"residual", residual}, {"products", found.along.products}};
  r.message =
      fmt::format("\neigenvalues{} from {:.3g} to {:.3g}, to {:.1g}, after {} Hessian-vector products",
                  found.morphs.sigma > 0 ? " times sigma^2" : "", found.along.values.min().item<double>() * unit,
                  found.along.values.max().item<double>() * unit, residual, found.along.products);
  return r;
}

Result between(const MorphArguments& a, const model::Model& model, const Pictures& from) {
  const Pictures to = given_pictures(a, model, a.to);
  const std::int64_t rows = std::max(from.x.size(0), to.x.size(0));
  const auto fitted = [&](const Pictures& p, const char* option) -> Pictures {
    if (p.x.size(0) == rows) return p;
    if (p.x.size(0) != 1)
      throw UserError(fmt::format("{}: {} pictures, where 1 or {} are expected", option, p.x.size(0), rows));
    return {p.x.repeat_interleave(rows, 0), p.condition};
  };
  const Pictures first = fitted(from, "--from"), last = fitted(to, "--to");
  Result r{.goal = last.condition};
  r.morphs = generation::interpolate(model, first.x, last.x, first.condition, last.condition, a.options);
  r.frames = r.morphs.frames;
  const model::ConditionSpec& spec = model.condition_spec();
  if (a.options.frames < 3 || (!spec.optional_condition && (spec.classes > 0 || spec.values > 0))) return r;
  // What lies between in pixels, beside it.
  std::vector<at::Tensor> blends;
  for (std::int64_t k = 1; k + 1 < a.options.frames; ++k) {
    const double t = static_cast<double>(k) / static_cast<double>(a.options.frames - 1);
    blends.push_back((1 - t) * first.x + t * last.x);
  }
  const at::Tensor ours = energies_of(model, r.frames.slice(1, 1, a.options.frames - 1)),
                   of_pixels = energies_of(model, at::stack(blends, 1));
  const double mean = ours.mean().item<double>(), mean_of_pixels = of_pixels.mean().item<double>(),
               likelier = (ours < of_pixels).to(at::kDouble).mean().item<double>(),
               ends = energies_of(model, at::stack({first.x, last.x}, 1)).mean().item<double>();
  r.json = {
      {"energy", mean}, {"energy_of_pixel_means", mean_of_pixels}, {"energy_of_ends", ends}, {"likelier", likelier}};
  r.message =
      fmt::format("\nmean energy between {:.1f}, of means of pixels {:.1f}, of the ends {:.1f}; likelier in {:.0f} %",
                  mean, mean_of_pixels, ends, 100 * likelier);
  return r;
}

Result change(const MorphArguments& a, const model::Model& model, const Pictures& from) {
  if (a.to.size() != 1) throw UserError("--to: expected pictures, or one class or NAME=VALUE,…");
  Result r{.goal = condition_named(model.condition_spec(), a.to[0], "--to")};
  r.morphs = generation::change_class(model, from.x, from.condition, r.goal, a.options);
  r.frames = r.morphs.frames;
  const auto last = r.frames.select(1, r.frames.size(1) - 1);
  const auto& space = model.space();
  const double distance =
      (space.to_unit(last) - space.to_unit(from.x)).square().flatten(1).mean(1).sqrt().mean().item<double>();
  r.json = {{"distance", distance}};
  r.message = fmt::format("\nroot mean square distance of pixels from the first frame to the last {:.3f}", distance);
  return r;
}

/// What the classifier takes frames for: the class that was asked for, and how sure it is.
void classify(const evaluation::Features& features, const model::Model& model, Result& r) {
  auto reached = nlohmann::ordered_json::array(), sure = nlohmann::ordered_json::array();
  for (std::int64_t k = 0; k < r.frames.size(1); ++k) {
    const at::Tensor p = evaluation::extract_all(features, model.space().to_unit(r.frames.select(1, k))).probabilities;
    const auto [most, which] = p.max(1);
    sure.push_back(most.mean().item<double>());
    if (r.goal.classes.defined()) reached.push_back(which.eq(r.goal.classes).to(at::kDouble).mean().item<double>());
  }
  if (!reached.empty()) {
    r.message += fmt::format("\nthe classifier takes {:.0f} % of the last frames for what was asked for",
                             100 * reached.back().get<double>());
    r.json["reached"] = reached;
  }
  r.json["confidence"] = sure;
}

/// What is no classifier of the model's pictures is refused before the work.
evaluation::FeaturesPtr classifier_of(const MorphArguments& a, const model::Model& model) {
  try {
    const evaluation::FeaturesPtr features = evaluation::load_features(a.classifier);
    std::vector<std::int64_t> one = model.space().shape;
    one.insert(one.begin(), 1);
    if (evaluation::extract_all(*features, at::zeros(one)).probabilities.defined()) return features;
  } catch (const UserError& e) {
    throw UserError(fmt::format("--classifier {}", e.what()));
  }
  throw UserError(fmt::format("--classifier {}: tells no classes", a.classifier));
}

void write_out(const MorphArguments& a, const model::Model& model, const at::Tensor& frames) {
  const fs::path out(a.out);
  if (out.has_parent_path()) io::make_folder(out.parent_path());
  const at::Tensor pictures = model.space().to_unit(frames);
  const io::Texts texts = provenance({a.run, model.step(), a.options.seed});
  if (out.extension() == ".npz") io::write_npz(out, {{"images", pictures}}, texts);
  if (out.extension() == ".png") io::write_png(out, io::grid(pictures.flatten(0, 1), pictures.size(1)), texts);
  if (out.extension() != ".gif") return;
  std::vector<at::Tensor> shown;  // there and back
  for (std::int64_t k = 0; k < pictures.size(1); ++k) shown.push_back(io::grid(pictures.select(1, k)));
  for (std::int64_t k = pictures.size(1) - 2; k > 0; --k) shown.push_back(shown[static_cast<std::size_t>(k)]);
  io::write_gif(out, shown, 8, texts);
}

void check_morph(const MorphArguments& a) {
  const std::string ending = fs::path(a.out).extension();
  if (ending != ".png" && ending != ".npz" && ending != ".gif")
    throw UserError(fmt::format("--out {}: expected a name that ends in .png, .gif or .npz", a.out));
  if (a.to.empty() == a.along.empty()) throw UserError("expected either --to or --along");
  const auto refuse = [&](std::initializer_list<const char*> options, const char* why) {
    for (const char* option : options) {
      if (a.command->count(option) > 0) throw UserError(fmt::format("{}: {}", option, why));
    }
  };
  if (a.along.empty()) refuse({"--directions", "--stiffest", "--reach"}, "is of --along hessian, which is not given");
  if (!a.along.empty() || name_pictures(a.to)) refuse({"--guidance"}, "is of a class that --to names");
  if (name_pictures(a.from)) refuse({"--count"}, "is of pictures that are drawn; --from names some");
  check_not_input(a.out, a.from);
  check_not_input(a.out, a.to);
  io::check_writable(a.out);
}

void morph(MorphArguments a) {
  check_morph(a);
  const model::Model model = model::Model::open(
      a.run, {.weights = weights_of(a.weights),
              .device = a.device,
              .precision = a.along.empty() ? std::optional<engine::Precision>() : engine::Precision::f32});
  if (model.space().kind != model::SampleSpace::Kind::image || !io::has_picture(model.space().shape))
    throw UserError(fmt::format("{}: its records are no pictures", a.run));
  const bool annealed = model.condition_spec().noise.has_value();
  if (const std::int64_t elements = c10::multiply_integers(model.space().shape);
      !a.along.empty() && a.directions > elements)
    throw UserError(fmt::format("--directions {}: expected at most {}, an input's elements", a.directions, elements));
  a.options.steps = a.steps >= 0 ? a.steps : a.along.empty() ? generation::usual_morph_steps(model) : 0;
  a.options.ascent = value_of<generation::Ascent>(a.ascent).value();
  if (a.options.ascent == generation::Ascent::drawn)
    a.options.ancestral = model.settings().sampling.annealing.ancestral;
  a.options.kept = a.kept > 0 ? a.kept : a.along.empty() ? 0.01 : 0.1;
  a.options.seed = a.seed >= 0 ? static_cast<std::uint64_t>(a.seed) : 0;
  const evaluation::FeaturesPtr classifier = a.classifier.empty() ? nullptr : classifier_of(a, model);
  const double begun = now();
  const auto console = make_progress("interrupted, nothing is written", a.json);
  catch_interrupts();
  a.options.progress = [&](std::int64_t done, std::int64_t total) { console->progress("morphing", done, total); };
  const Pictures from = first_pictures(a, model, *console);
  Result r = !a.along.empty()      ? traverse(a, model, from)
             : name_pictures(a.to) ? between(a, model, from)
                                   : change(a, model, from);
  if (classifier) classify(*classifier, model, r);
  write_out(a, model, r.frames);
  if (!a.json) {
    const std::string noise = annealed ? fmt::format(" by noise of {:.3g}", r.morphs.sigma) : "";
    console->message(fmt::format("{} rows of {} frames{}, {} gradients each: {}{}", r.frames.size(0), r.frames.size(1),
                                 noise, r.morphs.gradients, a.out, r.message));
    return;
  }
  nlohmann::ordered_json json{{"morphs", a.out},
                              {"rows", r.frames.size(0)},
                              {"frames", r.frames.size(1)},
                              {"sigma", r.morphs.sigma},
                              {"gradients", r.morphs.gradients}};
  json.update(r.json);
  json["seconds"] = now() - begun, json["seed"] = *a.options.seed;
  fmt::print("{}\n", json_text(json));
}

void add_moving_options(CLI::App& command, MorphArguments& a) {
  const auto whole = [&](const char* name, std::int64_t& value, std::int64_t least, const char* help) {
    return command.add_option(name, value, help)->check(CLI::Range(least, std::int64_t{100000}));
  };
  whole("--frames", a.options.frames, 2, "of each row, with the first and the last")->capture_default_str();
  whole("--count", a.count, 1, "pictures drawn where --from is no picture")->capture_default_str();
  command
      .add_option("--kept", a.kept,
                  "share of variance left to a picture under the noise that it is brought to: more keeps more of it, "
                  "less reaches more classes (default: 0.01, along the Hessian 0.1)")
      ->check(number_in(1e-9, 1.0));
  command
      .add_option("--ascent", a.ascent,
                  "how it is brought there: by the flow, which comes back to the same picture, or with noise drawn "
                  "(there and on the way back)")
      ->capture_default_str()
      ->check(CLI::IsMember(all_names<generation::Ascent>()));
  whole("--levels", a.options.levels, 2, "noise levels from there to none")->capture_default_str();
  whole("--steps", a.steps, 0,
        "Langevin steps at each noise level (default: 0), or of models without noise levels between two frames "
        "(default: 40)");
  command.add_option("--guidance", a.options.guidance, "how far beyond --to's class the last frame's energy goes")
      ->capture_default_str()
      ->check(number_in(0.0, 100.0));
  whole("--directions", a.directions, 1, "eigenvectors of --along hessian, a row each")->capture_default_str();
  command.add_flag("--stiffest", a.stiffest, "those of the greatest eigenvalues, instead of the least");
  command
      .add_option("--reach", a.reach, "how far to go along them to either side, in standard deviations of the noise")
      ->capture_default_str()
      ->check(number_in(0.0, 1e6));
}

}  // namespace

void add_morph(CLI::App& app) {
  auto a = std::make_shared<MorphArguments>();
  auto* command = app.add_subcommand("morph", "turn pictures into others by way of likely ones");
  a->command = command;
  command->footer(
      "Examples:\n"
      "  igebm morph mnist --from test:0-9 --to 3\n"
      "  igebm morph fashion-mnist --from sneaker --to 'ankle boot' --out boots.gif\n"
      "  igebm morph fashion-mnist --from mine.png --to test:4\n"
      "  igebm morph mnist --from test:0 --along hessian\n"
      "A row of the picture goes from left to right; a GIF goes there and back.");
  add_run_argument(*command, a->run);
  command
      ->add_option("--from", a->from,
                   "what to begin with: picture files, folders of them, FILE.npz, test:0-9 of the model's own data, or "
                   "a class or "
                   "NAME=VALUE,… to draw pictures of")
      ->required();
  command->add_option("--to", a->to, "what to become: a class, NAME=VALUE,…, or pictures");
  command->add_option("--along", a->along, "hessian: along eigenvectors of the energy's Hessian instead");
  command->add_option("--as", a->as,
                      "what given pictures are of (default: their own class where the data tells, or none in "
                      "particular)");
  add_moving_options(*command, *a);
  command->add_option("--classifier", a->classifier, "a classifier's run: says what it takes the frames for");
  add_seed_option(*command, a->seed, "0");
  command->add_option("--out", a->out, "FILE.png (a strip a row), FILE.gif or FILE.npz (arrays)")
      ->capture_default_str();
  add_weights_option(*command, a->weights);
  add_device_option(*command, a->device);
  add_threads_option(*command);
  command->add_flag("--json", a->json, "print one JSON object");
  command->callback([a] { as_command("morph", [&] { morph(*a); }); });
}

}  // namespace igebm::tools
