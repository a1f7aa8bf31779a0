#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/observer.h"
#include "igebm/generation/composing.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "igebm/serve/endpoints.h"

namespace igebm::serve {
namespace {

/// What an "or" measures first, told as frames without a picture.
class Measuring : public Observer {
 public:
  explicit Measuring(const Tell& tell) : frames_(tell) {}
  void progress(std::string_view stage, std::int64_t done, std::int64_t total) override {
    frames_.step(done, total, [&] { return Json{{"stage", stage}}; });
  }

 private:
  Frames frames_;
};

class Composing : public Job {
 public:
  Composing(generation::Composite composite, double bound, sampling::SamplerOptions sampler,
            model::SampleRequest request, std::string command)
      : composite_(std::move(composite)),
        bound_(bound),
        sampler_(std::move(sampler)),
        request_(std::move(request)),
        command_(std::move(command)) {}

  Result run(const Tell& tell) const override {
    const double begun = now();
    const bool annealed = composite_.range().has_value();
    Measuring measuring(tell);
    composite_.normalise(request_.seed.value_or(0), measuring);
    const at::Tensor plane = points() ? energies_in_plane() : at::Tensor();
    Frames frames(tell, sampling::step_count(composite_.moved_by(sampler_), annealed));
    double accepted = 0, counted = 0;
    model::SampleRequest asked = request_;
    asked.sampler = sampler_;
    asked.on_step = [&](sampling::Position p, const sampling::StepInfo& info, const sampling::Chains& chains) {
      if (info.proposes && 2 * p.step >= p.total) accepted += info.accepted_share, ++counted;
      frames.step([&] {
        return Json{{"energy", info.energy},
                    {"gradient_norm", info.gradient_norm},
                    {"image", io::png_url(picture_of(chains.x.cpu(), plane))}};
      });
    };
    const model::Samples samples = composite_.sample(asked);
    if (!samples.x.isfinite().all().item<bool>())
      throw UserError(
          "samples ran away to numbers that are not finite: an energy is, or what is taken away is stronger than the "
          "rest");
    const auto* energies = samples.energies.const_data_ptr<float>();
    Json data = {{"seconds", now() - begun},
                 {"gradients", composite_.gradient_count(sampler_)},
                 {"kind", points() ? "points" : "image"},
                 {"energies", std::vector<float>(energies, energies + samples.energies.numel())},
                 {"command", command_}};
    if (counted > 0) data["accepted"] = accepted / counted;
    return {std::move(data), picture_of(samples.x, plane)};
  }

 private:
  bool points() const { return composite_.space().kind == model::SampleSpace::Kind::points; }
  at::Tensor energies_in_plane() const {
    const auto energy = composite_.energy(composite_.range() ? composite_.range()->sigma_min : 0);
    return model::energies_in_plane(*energy, composite_.device(), bound_);
  }
  /// Points over the density of `plane`, energies on a grid.
  std::string picture_of(const at::Tensor& x, const at::Tensor& plane) const {
    return io::encode_png(points() ? io::density(plane, x, bound_, /*levels=*/true)
                                   : io::grid(composite_.space().to_unit(x)));
  }

  mutable generation::Composite composite_;  // its normalisers are found when it runs
  double bound_;                             // of the square that is shown of the plane
  sampling::SamplerOptions sampler_;
  model::SampleRequest request_;
  std::string command_;
};

}  // namespace

std::unique_ptr<Job> prepare_compose(Request& request, Models& models) {
  const std::string text = request.text("expression"), given = request.text("given"), base = request.text("base");
  if (text.empty()) throw UserError("expression: expected what to draw, as in mnist(3) & mnist(8)");
  const std::int64_t count = request.whole("count", 0, 1, 10000), seed = request.seed(0);
  const double negation = request.number("not", 0.5, 0.01, 10), bound = request.number("bound", 4, 0.5, 100);
  generation::ComposingOptions moved{.correct = request.text("correct"),
                                     .moves = request.whole("moves", 0, 1, 100),
                                     .levels = request.whole("levels", 0, 2, 200),
                                     .step_share = request.number("step_share", 0, 0.001, 1)};
  request.done();
  if (!moved.correct.empty() && moved.correct != "ula" && moved.correct != "mala" && moved.correct != "hmc" &&
      moved.correct != "none")
    throw UserError("correct: expected ula, mala, hmc or none");
  const generation::Expression expression = generation::parse(text);
  if (request.has("not") && !generation::has_negation(expression))
    throw UserError("not: the expression takes nothing away by !");
  for (const char* name : {"moves", "step_share"})
    if (moved.correct == "none" && request.has(name))
      throw UserError(fmt::format("{}: nothing moves beside the steps between levels where correct is none", name));
  const Composed composed{
      text, expression, {.negation = negation, .given = given, .base = base}, static_cast<std::uint64_t>(seed)};
  const bool compares = sampling::compares_energies(moved.correct) || generation::has_mixture(expression);
  generation::Composite composite = models.compose(composed, compares);
  std::string command = "igebm compose " + io::in_shell(text) + models.definitions(composed);
  if (!given.empty()) command += " --given " + io::in_shell(given);
  if (!base.empty()) command += " --base " + io::in_shell(base);
  if (negation != 0.5) command += fmt::format(" --not {}", negation);
  if (!moved.correct.empty()) command += " --correct " + moved.correct;
  if (moved.moves > 0) command += fmt::format(" --moves {}", moved.moves);
  if (moved.levels > 0) command += fmt::format(" --levels {}", moved.levels);
  if (moved.step_share > 0) command += fmt::format(" --step-share {}", moved.step_share);
  moved = generation::with_defaults(moved, composite);
  if (request.has("step_share") && sampling::compares_energies(moved.correct))
    throw UserError(fmt::format("step_share: {} learns the sizes of its steps", moved.correct));
  const bool pictures = composite.space().kind == model::SampleSpace::Kind::image;
  if (!io::has_picture(composite.space().shape)) throw UserError("expression: its records are no pictures");
  if (pictures && count > 100) throw UserError("count: expected a whole number from 1 to 100, of pictures");
  const std::int64_t drawn = count > 0 ? count : pictures ? 16 : 2000;
  model::SampleRequest asked{.count = drawn, .seed = static_cast<std::uint64_t>(seed), .batch = drawn};
  auto sampler = generation::sampler_of(moved, composite);
  return std::make_unique<Composing>(std::move(composite), bound, std::move(sampler), std::move(asked),
                                     command + fmt::format(" --count {} --seed {}", drawn, seed));
}

}  // namespace igebm::serve
