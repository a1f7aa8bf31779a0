#include "igebm/generation/morph.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/sampler.h"
#include "igebm/serve/endpoints.h"
#include "igebm/serve/pictures.h"

namespace igebm::serve {
namespace {

/// What a strip begins with, or ends with: a picture, or what the model is asked for.
struct End {
  std::string text;
  nn::Condition condition;
  bool picture = false;
  std::string word(const char* file) const {  // in a command
    return picture && !text.starts_with("test:") ? std::string(file) : io::in_shell(text);
  }
};

nn::Condition condition_named(const char* key, const std::string& text, const model::ConditionSpec& spec) {
  try {
    return spec.values > 0 ? model::condition_with(spec, text, 1) : model::condition_of_class(spec, text);
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", key, e.what()));
  }
}

/// `as`: what it is of if it is a picture; empty: not said.
End end_of(Request& request, const char* key, const std::string& as, const model::ConditionSpec& spec) {
  End end{.text = request.text(key)};
  end.picture = end.text.starts_with("test:") || end.text.starts_with("data:");
  if (end.text.empty())
    throw UserError(fmt::format("{}: expected a class, NAME=VALUE,…, test:NUMBER or data:image/png;base64,…", key));
  if (!end.picture) {
    end.condition = condition_named(key, end.text, spec);
  } else if (!as.empty()) {
    end.condition = condition_named("as", as, spec);
  }
  return end;
}

class Morphing : public Job {
 public:
  Morphing(Models& models, Chosen chosen, End from, End to, std::int64_t count, generation::MorphOptions options,
           std::string command)
      : models_(models),
        chosen_(std::move(chosen)),
        from_(std::move(from)),
        to_(std::move(to)),
        count_(count),
        options_(std::move(options)),
        command_(std::move(command)) {}

  Result run(const Tell& tell) const override {
    const at::NoGradGuard no_grad;
    const model::Model& model = *chosen_.model;
    const double begun = now();
    Frames drawing(tell), moving(tell);
    const auto first = pictures_of(from_, [&](sampling::Position p) {
      drawing.step(p.step + 1, p.total, [] { return Json{{"stage", "drawing"}}; });
    });
    generation::MorphOptions options = options_;
    options.progress = [&](std::int64_t done, std::int64_t total) {
      moving.step(done, total, [] { return Json{{"stage", "gradient"}}; });
    };
    generation::Morphs morphs;
    if (to_.picture) {
      const auto last = pictures_of(to_, {});
      morphs = generation::interpolate(model, first.first, last.first, first.second, last.second, options);
    } else {
      morphs = generation::change_class(model, first.first, first.second, to_.condition, options);
    }
    const at::Tensor pictures = model.space().to_unit(morphs.frames);
    Json data = {{"seconds", now() - begun},   {"gradients", morphs.gradients}, {"rows", pictures.size(0)},
                 {"frames", pictures.size(1)}, {"noise", morphs.sigma},         {"command", command_}};
    const model::ConditionSpec& spec = model.condition_spec();
    if (spec.optional_condition || (spec.classes == 0 && spec.values == 0)) {
      const at::Tensor e = model.energy()->energy(morphs.frames.flatten(0, 1).to(model.device())).cpu().contiguous();
      data["energies"] = std::vector<float>(e.const_data_ptr<float>(), e.const_data_ptr<float>() + e.numel());
    }
    return {std::move(data), io::encode_png(io::grid(pictures.flatten(0, 1), pictures.size(1)))};
  }

 private:
  /// In the model's range, and what they are of: what was asked, their own class, or none in particular.
  std::pair<at::Tensor, nn::Condition> pictures_of(const End& end,
                                                   const std::function<void(sampling::Position)>& progress) const {
    const model::Model& model = *chosen_.model;
    if (!end.picture) {
      return {generation::draw_pictures(
                  model, end.condition, count_, options_.seed,
                  [&](sampling::Position p, const sampling::StepInfo&, const sampling::Chains&) { progress(p); }),
              end.condition};
    }
    const Given given = given_picture(models_, chosen_, end.text);
    const model::ConditionSpec& spec = model.condition_spec();
    nn::Condition condition;
    if (end.condition.rows() > 0) {
      condition = end.condition;
    } else if (spec.classes > 0 && given.label >= 0) {
      condition.classes = at::tensor({given.label}, at::kLong);
    } else if (!spec.optional_condition && (spec.classes > 0 || spec.values > 0)) {
      throw UserError("this model needs to know what a picture is of; say as, or name one of its test data");
    }
    return {model.space().from_unit(given.x), condition};
  }

  Models& models_;
  Chosen chosen_;
  End from_, to_;
  std::int64_t count_;
  generation::MorphOptions options_;
  std::string command_;
};

}  // namespace

std::unique_ptr<Job> prepare_morph(Request& request, Models& models) {
  Chosen chosen = models.of_pictures(request);
  const model::ConditionSpec& spec = chosen.model->condition_spec();
  const std::string as = request.text("as");
  End from = end_of(request, "from", as, spec), to = end_of(request, "to", as, spec);
  if (to.picture && !from.picture) throw UserError("from: expected a picture, as `to` is one");
  if (!as.empty() && !from.picture) throw UserError("as: what a picture is of; `from` is none");
  const std::int64_t count = request.whole("count", 1, 1, 8), seed = request.seed(0);
  generation::MorphOptions options{
      .frames = request.whole("frames", 11, 2, 40),
      .steps = request.whole("steps", generation::usual_morph_steps(*chosen.model), 0, 200),
      .kept = request.number("kept", 0.01, 1e-6, 0.99),
      .levels = request.whole("levels", 40, 2, 200),
      .guidance = request.number("guidance", 2, 0, 20),
      .seed = static_cast<std::uint64_t>(seed)};
  request.done();
  if (from.picture && request.has("count")) throw UserError("count: is of pictures that are drawn; `from` names some");
  if (to.picture && request.has("guidance")) throw UserError("guidance: is of a class that `to` names");
  std::string command =
      fmt::format("igebm morph {} --from {} --to {} --frames {} --steps {} --kept {} --levels {} --seed {}",
                  io::in_shell(chosen.path), from.word("from.png"), to.word("to.png"), options.frames, options.steps,
                  options.kept, options.levels, seed);
  if (!from.picture) command += fmt::format(" --count {}", count);
  if (!to.picture) command += fmt::format(" --guidance {}", options.guidance);
  if (!as.empty()) command += " --as " + io::in_shell(as);
  return std::make_unique<Morphing>(models, std::move(chosen), std::move(from), std::move(to), count,
                                    std::move(options), std::move(command));
}

}  // namespace igebm::serve
