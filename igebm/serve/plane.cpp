#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/picture.h"
#include "igebm/model/picture.h"
#include "igebm/sampling/registry.h"
#include "igebm/serve/endpoints.h"

namespace igebm::serve {
namespace {

constexpr std::int64_t plane_streams = std::int64_t{1} << 45;  // far from those of samples

/// Chains of one kernel in the plane, at one noise level, from anywhere in the square.
class PlaneWalk : public Job {
 public:
  struct Asked {
    std::int64_t count = 0, seed = 0;
    double noise = 0, bound = 0;
    sampling::SamplerOptions sampler;
  };
  PlaneWalk(generation::Composite composite, Asked asked)
      : composite_(std::move(composite)), asked_(std::move(asked)) {}

  Result run(const Tell& tell) const override {
    const at::NoGradGuard no_grad;
    const double begun = now(), bound = asked_.bound;
    const auto energy = composite_.energy(asked_.noise);
    const at::Tensor energies = model::energies_in_plane(*energy, composite_.device(), bound);
    if (tell.event && !tell.event("plane", grid_of(energies))) throw Gone{};
    const auto seed = static_cast<std::uint64_t>(asked_.seed);
    auto chains =
        sampling::start_chains({sampling::Start::uniform, -bound, bound}, {2}, asked_.count, plane_streams, {}, seed)
            .to(composite_.device());
    Frames frames(tell, asked_.sampler.steps);
    double accepted = 0, counted = 0;
    sampling::sample(asked_.sampler, *energy, chains, seed,
                     [&](sampling::Position, const sampling::StepInfo& info, const sampling::Chains& moved) {
                       if (info.proposes) accepted += info.accepted_share, ++counted;
                       frames.step([&] {
                         Json frame = {{"energy", info.energy}, {"points", points_of(moved.x)}};
                         if (info.proposes) frame["accepted"] = info.accepted_share;
                         return frame;
                       });
                     });
    Json data = {{"seconds", now() - begun}, {"count", asked_.count}, {"steps", asked_.sampler.steps}};
    if (counted > 0) data["accepted"] = accepted / counted;
    return {std::move(data), io::encode_png(io::density(energies, chains.x, bound, /*levels=*/true))};
  }

 private:
  /// Thousandths of the bound: x, y, x, y, …
  std::vector<std::int64_t> points_of(const at::Tensor& x) const {
    const at::Tensor rounded = (x.cpu() * (1000 / asked_.bound))
                                   .nan_to_num(1e6, 1e6, -1e6)
                                   .clamp(-1e6, 1e6)
                                   .round()
                                   .to(at::kLong)
                                   .contiguous();
    const auto* p = rounded.const_data_ptr<std::int64_t>();
    return {p, p + rounded.numel()};
  }
  /// Energies less the least, every fourth row and column, from the top left.
  Json grid_of(const at::Tensor& energies) const {
    const at::Tensor some =
        (energies.slice(0, 0, energies.size(0), 4).slice(1, 0, energies.size(1), 4) - energies.min()).contiguous();
    Json values = Json::array();
    const auto* e = some.const_data_ptr<float>();
    for (std::int64_t i = 0; i < some.numel(); ++i) values.push_back(std::round(std::min(e[i], 1e6F) * 1000) / 1000);
    return {{"side", some.size(0)}, {"bound", asked_.bound}, {"energies", std::move(values)}};
  }

  generation::Composite composite_;
  Asked asked_;
};

}  // namespace

std::unique_ptr<Job> prepare_plane(Request& request, Models& models) {
  const std::string text = request.text("expression");
  if (text.empty()) throw UserError("expression: expected an energy in the plane, as in two-moons");
  PlaneWalk::Asked asked;
  asked.count = request.whole("count", 2000, 1, 10000), asked.seed = request.seed(0);
  asked.bound = request.number("bound", 4, 0.5, 100);
  const double negation = request.number("not", 0.5, 0.01, 10);
  const std::string kernel = request.text("kernel", "langevin");
  asked.sampler.kernel = sampling::find_kernel(kernel).name;
  asked.sampler.steps = request.whole("steps", 300, 1, 5000);
  sampling::LangevinOptions& langevin = asked.sampler.langevin;
  langevin.step_size = request.number("step_size", 0.02, 1e-6, 10);
  langevin.noise = -1;  // that belongs to the step
  langevin.temperature_start = langevin.temperature_end = request.number("temperature", 1, 0.01, 100);
  asked.sampler.mala.adaptation.share = asked.sampler.hmc.adaptation.share = 0;  // the step is as it is asked
  const double noise = request.number("noise", 0, 0, 100);
  request.done();
  const generation::Expression expression = generation::parse(text);
  generation::Composite composite = models.compose({text, expression, {.negation = negation}}, true);
  if (composite.space().kind != model::SampleSpace::Kind::points || !io::has_picture(composite.space().shape))
    throw UserError("expression: expected energies in the plane");
  if (composite.needs_normalisers())
    throw UserError("expression: \"|\" of models, whose integrals are not known; compose draws it");
  const auto& range = composite.range();
  if (!range && noise > 0) throw UserError("noise: these energies take no noise levels");
  asked.noise = range ? std::clamp(noise, range->sigma_min, range->sigma_max) : 0;
  return std::make_unique<PlaneWalk>(std::move(composite), std::move(asked));
}

}  // namespace igebm::serve
