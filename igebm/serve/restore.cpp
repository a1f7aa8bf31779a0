#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/evaluation/records.h"
#include "igebm/generation/restoration.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/serve/endpoints.h"
#include "igebm/serve/pictures.h"

namespace igebm::serve {
namespace {

class TestPicture : public Job {
 public:
  TestPicture(Models& models, Chosen chosen, std::int64_t row)
      : models_(models), chosen_(std::move(chosen)), row_(row) {}

  bool computes() const override { return false; }
  Result run(const Tell&) const override {
    const Given given = test_picture(models_, chosen_, row_);
    Json data = {{"count", models_.test_data(chosen_)->size()}};
    const std::vector<std::string> classes = chosen_.model->condition_spec().names_of_classes();
    if (given.label >= 0 && !classes.empty()) data["label"] = classes.at(static_cast<std::size_t>(given.label));
    if (!given.condition.empty()) data["condition"] = given.condition;
    return {data, io::encode_png(given.x[0].mul(255).round().to(at::kByte).permute({1, 2, 0}))};
  }

 private:
  Models& models_;
  Chosen chosen_;
  std::int64_t row_;
};

/// With all that this and completions are asked.
struct AskedPicture {
  Models& models;
  Chosen chosen;
  std::string picture, command;
  nn::Condition condition;

  AskedPicture(Request& request, Models& of)
      : models(of), chosen(of.of_pictures(request)), picture(request.text("picture")) {
    if (picture.empty()) throw UserError("picture: expected data:image/png;base64,… or test:NUMBER");
    condition = condition_or_none(request, chosen.model->condition_spec(), 1, command);
  }
};

class PictureEnergy : public Job {
 public:
  PictureEnergy(AskedPicture asked, double noise) : asked_(std::move(asked)), noise_(noise) {}

  Result run(const Tell&) const override {
    const at::NoGradGuard no_grad;
    const model::Model& model = *asked_.chosen.model;
    const at::Tensor x =
        model.space().from_unit(given_picture(asked_.models, asked_.chosen, asked_.picture).x).to(model.device());
    const auto energy = noise_ > 0 ? model.energy(asked_.condition, noise_) : model.energy(asked_.condition);
    const auto [e, gradient] = energy->energy_and_gradient(x);
    const at::Tensor sizes = gradient[0].square().sum(0).sqrt().cpu();
    const double greatest = sizes.max().item<double>();
    return {{{"energy", e.item<double>()},
             {"gradient_norm", gradient.norm().item<double>()},
             {"greatest", greatest},
             {"noise", noise_}},
            io::encode_png(io::heat(greatest > 0 ? sizes / greatest : sizes))};
  }

 private:
  AskedPicture asked_;
  double noise_;
};

class Completing : public Job {
 public:
  Completing(AskedPicture asked, at::Tensor known, generation::RestorationOptions options)
      : asked_(std::move(asked)), known_(std::move(known)), options_(std::move(options)) {}

  Result run(const Tell& tell) const override {
    const model::Model& model = *asked_.chosen.model;
    const model::SampleSpace& space = model.space();
    const bool annealed = model.condition_spec().noise.has_value();
    const double begun = now();
    const at::Tensor given = given_picture(asked_.models, asked_.chosen, asked_.picture).x;
    Frames frames(tell, sampling::step_count(*options_.sampler, annealed));
    generation::RestorationOptions options = options_;
    options.on_step = [&](sampling::Position, const sampling::StepInfo& info, const sampling::Chains& chains) {
      frames.step([&] {
        return Json{{"energy", info.energy},
                    {"gradient_norm", info.gradient_norm},
                    {"image", io::png_url(row_of(space.to_unit(chains.x.cpu())))}};
      });
    };
    // Known pixels are the picture's as it was, not as it comes back from the model's range.
    const at::Tensor x = generation::inpaint(model, space.from_unit(given), known_, options)[0],
                     completions = at::where(known_, given, space.to_unit(x));
    const at::NoGradGuard no_grad;
    const at::Tensor energies =
        model.energy(asked_.condition)->energy(space.from_unit(completions).to(model.device())).cpu().contiguous();
    const auto* energy = energies.const_data_ptr<float>();
    return {{{"seconds", now() - begun},
             {"gradients", sampling::gradient_count(*options_.sampler, annealed)},
             {"energies", std::vector<float>(energy, energy + energies.numel())},
             {"command", asked_.command}},
            row_of(completions)};
  }

 private:
  static std::string row_of(const at::Tensor& pictures) { return io::encode_png(io::grid(pictures, pictures.size(0))); }

  AskedPicture asked_;
  at::Tensor known_;
  generation::RestorationOptions options_;
};

}  // namespace

std::unique_ptr<Job> prepare_picture(Request& request, Models& models) {
  const Chosen chosen = models.of_pictures(request);
  const std::int64_t row = request.whole("test", 0, 0, most_row);
  request.done();
  return std::make_unique<TestPicture>(models, chosen, row);
}

std::unique_ptr<Job> prepare_energy(Request& request, Models& models) {
  AskedPicture asked(request, models);
  const auto& noise = asked.chosen.model->condition_spec().noise;
  const double sigma = noise ? request.number("noise", noise->sigma_min, noise->sigma_min, noise->sigma_max) : 0;
  request.done();
  return std::make_unique<PictureEnergy>(std::move(asked), sigma);
}

std::unique_ptr<Job> prepare_restore(Request& request, Models& models) {
  AskedPicture asked(request, models);
  const model::Model& model = *asked.chosen.model;
  const std::int64_t samples = request.whole("samples", 5, 1, 16), steps = request.whole("steps", 4, 1, 20),
                     levels = request.whole("levels", 0, 2, 200), seed = request.seed(0);
  const std::string mask = request.text("mask", "bottom");
  request.done();
  const bool painted = mask.starts_with("data:");
  if (!painted && io::has_picture_name(mask)) throw UserError("mask: expected data:image/png;base64,…, not a file");
  const at::Tensor known = painted ? generation::mask_of(decoded(mask, 1, "mask"), model.space().shape, "mask")
                                   : generation::read_mask(mask, model.space().shape, static_cast<std::uint64_t>(seed));
  const bool own = asked.picture.starts_with("test:");
  asked.command =
      fmt::format("igebm inpaint {} {} --mask {} --samples {} --steps {}{} --seed {}{} --out completions.png",
                  io::in_shell(asked.chosen.path), own ? io::in_shell(asked.picture) : "picture.png",
                  painted ? "mask.png" : io::in_shell(mask), samples, steps,
                  levels > 0 ? fmt::format(" --levels {}", levels) : "", seed, asked.command);
  generation::RestorationOptions options{.samples = samples,
                                         .condition = asked.condition,
                                         .seed = static_cast<std::uint64_t>(seed),
                                         .sampler = generation::restoration_sampler(model, steps, levels)};
  return std::make_unique<Completing>(std::move(asked), known, std::move(options));
}

}  // namespace igebm::serve
