#include "igebm/model/model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <utility>

#include "igebm/base/device.h"
#include "igebm/base/error.h"
#include "igebm/energy/capabilities.h"
#include "igebm/energy/compose.h"
#include "igebm/engine/autotuner.h"
#include "igebm/model/shipped.h"
#include "igebm/nn/weights.h"

namespace igebm::model {
namespace {

namespace fs = std::filesystem;

/// An energy that is bound to as many inputs as come.
class AnyCount : public energy::Energy, public energy::InPlace {
 public:
  using Bind = std::function<energy::EnergyPtr(std::int64_t count)>;
  explicit AnyCount(Bind bind) : bind_(std::move(bind)) {}

  at::Tensor energy(const at::Tensor& x) const override { return of(x).energy(x); }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    return of(x).energy_and_gradient(x);
  }
  void energy_and_gradient_into(const at::Tensor& x, energy::EnergyAndGradient& out) const override {
    energy::energy_and_gradient_into(of(x), x, out);
  }

 private:
  const energy::Energy& of(const at::Tensor& x) const {
    const std::int64_t count = x.size(0);
    if (!bound_ || count != count_) bound_ = bind_(count), count_ = count;
    return *bound_;
  }

  Bind bind_;
  mutable energy::EnergyPtr bound_;
  mutable std::int64_t count_ = 0;
};

std::string step_of(const NetworkFile& file) {
  const auto step = file.metadata.find("step");
  return step == file.metadata.end() ? std::string() : step->second;
}

/// What a file says of its model's range where there is no recipe.
Settings settings_of(const NetworkFile& file) {
  Settings s;
  for (const auto& [key, value] : {std::pair("low", &s.data.low), std::pair("high", &s.data.high)}) {
    const auto found = file.metadata.find(key);
    if (found != file.metadata.end()) *value = std::strtod(found->second.c_str(), nullptr);
  }
  return s;
}

Settings with(Settings s, const OpenOptions& o) {
  if (o.engine) s.engine = *o.engine;
  if (!o.device.empty()) s.device = o.device;
  if (o.precision) s.precision = *o.precision;
  if (o.ensemble > 0) s.sampling.ensemble = o.ensemble;
  return s;
}

Model make(const std::vector<NetworkFile>& files, const Settings& settings, const fs::path& run) {
  const at::NoGradGuard no_grad;
  engine::Options options = engine_options(settings, run);
  options.autotuner = std::make_shared<engine::Autotuner>();  // measured once, for all of them
  std::vector<std::shared_ptr<engine::Prepared>> networks;
  for (const NetworkFile& f : files)
    networks.push_back(engine::prepare(f.graph, nn::effective_weights(f.graph, f.parameters, f.buffers), options));
  return {files.back().graph, std::move(networks), condition_spec(files.back().graph, files.back().metadata), settings};
}

}  // namespace

at::Tensor SampleSpace::to_unit(const at::Tensor& x) const {
  return kind == Kind::image ? x.sub(low).div_(high - low).clamp_(0, 1) : x;
}

at::Tensor SampleSpace::from_unit(const at::Tensor& x) const {
  return kind == Kind::image ? x * (high - low) + low : x;
}

SampleSpace space_of(const std::vector<std::int64_t>& shape, const data::Options& data) {
  return {.kind = shape.size() == 3 ? SampleSpace::Kind::image : SampleSpace::Kind::points,
          .shape = shape,
          .low = data.low,
          .high = data.high};
}

Model Model::open(const fs::path& what, const OpenOptions& options) {
  const fs::path path = find_model(what.string());
  if (fs::is_regular_file(path)) {
    const NetworkFile file = read_network_file(path);
    Model model = make({file}, with(settings_of(file), options), {});
    model.step_ = step_of(file);
    return model;
  }
  return open(path, options, read_settings(run_of(path) / "recipe.toml"));
}

Model Model::open(const fs::path& what, const OpenOptions& options, const Settings& given) {
  const fs::path path = find_model(what.string());
  const fs::path run = run_of(path);
  const Settings settings = with(given, options);
  const auto files = load_ensemble(options.best ? find_best(run) : path, settings.sampling.ensemble, options.weights);
  Model model = make(files, settings, run);
  model.step_ = step_of(files.back());
  return model;
}

Model::Model(nn::Graph graph, std::vector<std::shared_ptr<engine::Prepared>> networks, ConditionSpec spec,
             const Settings& settings)
    : graph_(std::move(graph)),
      networks_(std::move(networks)),
      spec_(std::move(spec)),
      settings_(settings),
      space_(space_of(graph_.input_shape, settings.data)),
      device_(find_device(settings.device)) {
  if (networks_.empty()) throw UserError("model: expected at least one network");
  if (annealed() && !spec_.noise) spec_.noise = NoiseScale();
}

void Model::require_energy(const char* what) const {
  if (graph_.outputs > 0) throw UserError(fmt::format("this model is a classifier, which {}", what));
}

energy::EnergyPtr Model::bound(engine::Prepared& network, const at::Tensor& labels, std::int64_t count,
                               double sigma) const {
  return annealed() ? energy_at(graph_, network, labels, count, *spec_.noise, sigma) : network.given(labels);
}

energy::EnergyPtr Model::guided(engine::Prepared& network, const at::Tensor& labels, std::int64_t count, double sigma,
                                double guidance) const {
  const energy::EnergyPtr of_class = bound(network, labels, count, sigma);
  if (guidance == 1) return of_class;
  const energy::EnergyPtr of_none = bound(network, nn::untold(labels), count, sigma);
  return std::make_shared<energy::Sum>(std::vector{of_class, of_none}, std::vector{guidance, 1 - guidance});
}

energy::EnergyPtr Model::energy(const nn::Condition& condition) const {
  require_energy("has no energy");
  return newest(condition, annealed() ? spec_.noise->sigma_min : 0);
}

energy::EnergyPtr Model::energy(const nn::Condition& condition, double sigma) const {
  require_energy("has no energy");
  if (!annealed()) throw UserError("energy: sigma: this model takes no noise level");
  if (!(sigma > 0 && std::isfinite(sigma)))
    throw UserError(fmt::format("energy: sigma: expected a noise level above 0, got {}", sigma));
  return newest(condition, sigma);
}

energy::EnergyPtr Model::newest(const nn::Condition& condition, double sigma) const {
  nn::labels(graph_, condition, std::max<std::int64_t>(1, condition.rows()));  // what does not fit is said here
  if (!graph_.conditional()) return networks_.back()->given({});
  const auto bind = [*this, condition, sigma](std::int64_t count) {
    const at::Tensor rows = nn::labels(graph_, condition, count);
    return bound(*networks_.back(), rows.defined() ? rows.to(device_) : rows, count, sigma);
  };
  if (condition.rows() > 1) return bind(condition.rows());
  return std::make_shared<AnyCount>(bind);
}

Samples Model::sample(const SampleRequest& request) const {
  require_energy("draws no samples");
  const at::NoGradGuard no_grad;
  const std::int64_t count = request.count;
  if (count < 1 || request.batch < 1) throw UserError("sample: expected count and batch of at least 1");
  const at::Tensor labels =
      nn::labels(graph_, request.condition.empty() ? usual_condition(spec_, count) : request.condition, count);
  const sampling::SamplerOptions sampler = request.sampler.value_or(settings_.sampling);
  if (const std::string problem = kernel_problem(settings_, sampler); !problem.empty())
    throw UserError("sampling.kernel: " + problem);
  if (annealed() && sampler.annealing.guidance != 1 && !spec_.optional_condition)
    throw UserError(
        "sampling.guidance: this model knows no class in particular; expected one trained with network.label_dropout");
  const std::uint64_t seed = request.seed.value_or(static_cast<std::uint64_t>(settings_.seed));
  Samples samples;
  std::vector<at::Tensor> parts, energies;
  for (std::int64_t begin = 0; begin < count; begin += request.batch) {
    const std::int64_t end = std::min(count, begin + request.batch);
    auto chains = sampling::start_chains(annealed() ? sampling::StartOptions{sampling::Start::normal} : sampler.start,
                                         graph_.input_shape, end - begin, request.first_stream + begin,
                                         labels.defined() ? labels.slice(0, begin, end).contiguous() : labels, seed)
                      .to(device_);
    const auto energies_at = [&](double sigma) {
      std::vector<energy::EnergyPtr> all;
      for (const auto& network : networks_)
        all.push_back(
            guided(*network, chains.labels, chains.size(), sigma, annealed() ? sampler.annealing.guidance : 1));
      return all;
    };
    if (annealed()) {
      sampling::sample_from_noise(sampler, {spec_.noise->sigma_min, spec_.noise->sigma_max},
                                  start_deviation(*spec_.noise), energies_at, chains, seed, request.on_step);
    } else {
      sampling::sample(sampler, energies_at(0), chains, seed, request.on_step);
    }
    if (space_.kind == SampleSpace::Kind::image) chains.x.clamp_(space_.low, space_.high);
    if (request.energies) {
      const double least = annealed() ? spec_.noise->sigma_min : 0;
      energies.push_back(bound(*networks_.back(), chains.labels, chains.size(), least)->energy(chains.x).cpu());
    }
    parts.push_back(chains.x.cpu());
  }
  samples.x = at::cat(parts);
  samples.condition = nn::Condition::of_labels(labels);
  if (request.energies) samples.energies = at::cat(energies);
  return samples;
}

}  // namespace igebm::model
