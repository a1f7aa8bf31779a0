#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/model/settings.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"
#include "igebm/serve/endpoints.h"

namespace igebm::serve {
namespace {

/// The square that samples in the plane are shown in.
double bound_of(const model::Model& model) {
  const auto& noise = model.condition_spec().noise;
  return noise && noise->sigma_data > 0 ? std::ceil(26 * noise->sigma_data) / 10 : 3;
}

std::string frame_of(const model::Model& model, const at::Tensor& x) {
  const model::SampleSpace& space = model.space();
  return io::encode_png(space.kind == model::SampleSpace::Kind::image ? io::grid(space.to_unit(x))
                                                                      : io::scatter(x, bound_of(model), 400));
}

std::string last_frame_of(const model::Model& model, const at::Tensor& x) {
  if (model.space().kind == model::SampleSpace::Kind::image) return frame_of(model, x);
  const double bound = bound_of(model);
  return io::encode_png(io::density(model::energies_in_plane(model, bound), x, bound));
}

class Sampling : public Job {
 public:
  Sampling(std::shared_ptr<const model::Model> model, model::SampleRequest request, std::string command)
      : model_(std::move(model)), request_(std::move(request)), command_(std::move(command)) {}

  Result run(const Tell& tell) const override {
    const bool annealed = model_->condition_spec().noise.has_value();
    const double begun = now();
    Frames frames(tell, sampling::step_count(*request_.sampler, annealed));
    model::SampleRequest asked = request_;
    asked.on_step = [&](sampling::Position, const sampling::StepInfo& info, const sampling::Chains& chains) {
      frames.step([&] {
        return Json{{"energy", info.energy},
                    {"gradient_norm", info.gradient_norm},
                    {"image", io::png_url(frame_of(*model_, chains.x.cpu()))}};
      });
    };
    const model::Samples samples = model_->sample(asked);
    const auto* energies = samples.energies.const_data_ptr<float>();
    return {{{"seconds", now() - begun},
             {"gradients", sampling::gradient_count(*request_.sampler, annealed)},
             {"energies", std::vector<float>(energies, energies + samples.energies.numel())},
             {"command", command_}},
            last_frame_of(*model_, samples.x),
            arrays_of(*model_, samples)};
  }

 private:
  std::shared_ptr<const model::Model> model_;
  model::SampleRequest request_;
  std::string command_;
};

/// A model with how it is to be sampled: keys "sampler", "budget", "guidance" and "temperature"; `command` gets them.
std::shared_ptr<const model::Model> with_sampler(Request& request, Models& models, const Offer& of,
                                                 sampling::SamplerOptions& sampler, std::string& command) {
  auto model = models.open(of).model;
  const bool annealed = model->condition_spec().noise.has_value();
  sampler = model->settings().sampling;
  if (const std::string kernel = request.text("sampler"); !kernel.empty()) {
    sampler.kernel = sampling::find_kernel(kernel).name;
    if (annealed && kernel != "langevin")
      throw UserError("sampler: this model's is langevin, from one noise level to the next");
    command += " --sampler " + kernel;
    if (!model::kernel_problem(model->settings(), sampler).empty()) {  // bfloat16 is too coarse for it
      model = models.open(of, {"run.precision=f32"}).model;
      command += " --set run.precision=f32";
    }
  }
  sampler.budget = request.whole("budget", sampler.budget, 1, 2000);
  if (request.has("budget")) command += fmt::format(" --budget {}", sampler.budget);
  double& guidance = sampler.annealing.guidance;
  guidance = request.number("guidance", guidance, 0, 20);
  if (request.has("guidance")) command += fmt::format(" --guidance {}", guidance);
  if (request.has("guidance") && guidance != 1 && !(annealed && model->condition_spec().optional_condition))
    throw UserError("guidance: this model knows no class in particular");
  if (const double temperature = request.number("temperature", 1, 0.01, 100); request.has("temperature")) {
    sampler.langevin.temperature_start = sampler.langevin.temperature_end = temperature;
    command +=
        annealed ? fmt::format(" --set sampling.temperature={}", temperature)
                 : fmt::format(" --set sampling.temperature_start={0} --set sampling.temperature_end={0}", temperature);
  }
  (void)sampling::within_budget(sampler, annealed);  // or it says what does not go together
  return model;
}

}  // namespace

std::unique_ptr<Job> prepare_sample(Request& request, Models& models) {
  const Offer& of = models.offer(request.text("model"));
  std::string command = "igebm sample " + io::in_shell(of.path);
  const std::int64_t count = request.whole("count", 25, 1, 10000);
  command += fmt::format(" --count {}", count);
  sampling::SamplerOptions sampler;
  const auto model = with_sampler(request, models, of, sampler, command);
  if (count > 400 && model->space().kind == model::SampleSpace::Kind::image)
    throw UserError("count: expected a whole number from 1 to 400, of pictures");
  model::SampleRequest asked{.count = count, .sampler = std::move(sampler), .batch = count};
  asked.condition = condition_of(request, model->condition_spec(), count, command);
  if (const std::int64_t seed = request.seed(-1); seed >= 0) {
    asked.seed = static_cast<std::uint64_t>(seed);
    command += fmt::format(" --seed {}", seed);
  }
  request.done();
  return std::make_unique<Sampling>(model, std::move(asked), command + " --out samples.png");
}

}  // namespace igebm::serve
