#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/base64.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/sampling/budget.h"
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
    Frames frames(tell, sampling::step_count(model_->settings().sampling, annealed));
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
             {"gradients", sampling::gradient_count(model_->settings().sampling, annealed)},
             {"energies", std::vector<float>(energies, energies + samples.energies.numel())},
             {"command", command_}},
            last_frame_of(*model_, samples.x)};
  }

 private:
  std::shared_ptr<const model::Model> model_;
  model::SampleRequest request_;
  std::string command_;
};

}  // namespace

std::unique_ptr<Job> prepare_sample(Request& request, Models& models) {
  const Offer& of = models.offer(request.text("model"));
  std::vector<std::string> set;
  std::string command = "igebm sample " + io::in_shell(of.path);
  const std::int64_t count = request.whole("count", 25, 1, 10000);
  command += fmt::format(" --count {}", count);
  if (const std::int64_t budget = request.whole("budget", 0, 1, 2000); budget > 0) {
    set.push_back(fmt::format("sampling.budget={}", budget));
    command += fmt::format(" --budget {}", budget);
  }
  if (const double guidance = request.number("guidance", 1, 0, 20); guidance != 1) {
    set.push_back(fmt::format("sampling.guidance={}", guidance));
    command += fmt::format(" --guidance {}", guidance);
  }
  const auto model = models.open(of, set).model;
  if (count > 400 && model->space().kind == model::SampleSpace::Kind::image)
    throw UserError("count: expected a whole number from 1 to 400, of pictures");
  model::SampleRequest asked{.count = count, .batch = count};
  asked.condition = condition_of(request, model->condition_spec(), count, command);
  if (const std::int64_t seed = request.seed(-1); seed >= 0) {
    asked.seed = static_cast<std::uint64_t>(seed);
    command += fmt::format(" --seed {}", seed);
  }
  request.done();
  return std::make_unique<Sampling>(model, std::move(asked), command + " --out samples.png");
}

}  // namespace igebm::serve
