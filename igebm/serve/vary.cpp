#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/base64.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/serve/endpoints.h"
#include "igebm/serve/pictures.h"

namespace igebm::serve {
namespace {

constexpr std::int64_t vary_streams = std::int64_t{1} << 46;  // far from those of samples

/// A picture taken back to a noise level and down from it again, so many times.
class Varying : public Job {
 public:
  Varying(Models& models, Chosen chosen, std::string picture, double noise, model::SampleRequest request)
      : models_(models),
        chosen_(std::move(chosen)),
        picture_(std::move(picture)),
        noise_(noise),
        request_(std::move(request)) {}

  Result run(const Tell& tell) const override {
    const model::Model& model = *chosen_.model;
    const model::SampleSpace& space = model.space();
    const double begun = now();
    const bool annealed = model.condition_spec().noise.has_value();
    const at::Tensor x = space.from_unit(given_picture(models_, chosen_, picture_).x);
    const std::int64_t count = request_.count;
    const model::Continued from{.x = x.repeat_interleave(count, 0),
                                .stream = at::arange(count, at::kLong) + vary_streams,
                                .steps = at::zeros({count}, at::kLong),
                                .sigma = noise_};
    const sampling::SamplerOptions& sampler = model.settings().sampling;
    Frames frames(tell, sampling::step_count(annealed ? sampler : sampling::more_steps(sampler), annealed));
    model::SampleRequest asked = request_;
    asked.from = &from;
    asked.on_step = [&](sampling::Position, const sampling::StepInfo& info, const sampling::Chains& chains) {
      frames.step([&] {
        return Json{{"energy", info.energy},
                    {"gradient_norm", info.gradient_norm},
                    {"image", io::png_url(io::encode_png(io::grid(space.to_unit(chains.x.cpu()))))}};
      });
    };
    const model::Samples samples = model.sample(asked);
    const auto* energies = samples.energies.const_data_ptr<float>();
    return {{{"seconds", now() - begun},
             {"gradients", sampling::gradient_count(sampler, annealed)},
             {"energies", std::vector<float>(energies, energies + samples.energies.numel())}},
            io::encode_png(io::grid(space.to_unit(samples.x))),
            arrays_of(model, samples)};
  }

 private:
  Models& models_;
  Chosen chosen_;
  std::string picture_;
  double noise_;
  model::SampleRequest request_;
};

}  // namespace

std::unique_ptr<Job> prepare_vary(Request& request, Models& models) {
  Chosen chosen = models.of_pictures(request);
  const std::string picture = request.text("picture");
  if (picture.empty()) throw UserError("picture: expected data:image/png;base64,… or test:NUMBER");
  const model::ConditionSpec& spec = chosen.model->condition_spec();
  const std::int64_t count = request.whole("count", 9, 1, 100), seed = request.seed(0);
  double noise = 1;
  if (spec.noise) {
    const double least = 1.01 * spec.noise->sigma_min;  // below it there is nothing to go down
    noise = request.number("noise", std::max(least, spec.noise->sigma_data), least, spec.noise->sigma_max);
  }
  std::string command;
  nn::Condition condition = condition_or_none(request, spec, count, command);
  request.done();
  model::SampleRequest asked{
      .count = count, .condition = std::move(condition), .seed = static_cast<std::uint64_t>(seed), .batch = count};
  return std::make_unique<Varying>(models, std::move(chosen), picture, noise, std::move(asked));
}

}  // namespace igebm::serve
