#include "igebm/model/model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

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
#include "igebm/sampling/budget.h"

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
  at::Tensor hessian_product(const at::Tensor& x, const at::Tensor& v) const override {
    return of(x).hessian_product(x, v);
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

Model make(const std::vector<NetworkFile>& files, Settings settings, const OpenOptions& o, const fs::path& run) {
  const at::NoGradGuard no_grad;
  if (o.exact_points && files.back().graph.input_shape.size() == 1) settings.precision = engine::Precision::f32;
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
    Model model = make({file}, with(settings_of(file), options), options, {});
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
  Model model = make(files, settings, options, run);
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

/// One call's work.
struct Model::Drawing {
  const Model& model;
  const SampleRequest& request;
  at::Tensor labels;  // of all samples
  sampling::SamplerOptions sampler;
  std::uint64_t seed;

  bool annealed() const { return model.annealed(); }
  double guidance() const { return annealed() ? sampler.annealing.guidance : 1; }
  sampling::NoiseRange range() const {
    const NoiseScale& noise = *model.spec_.noise;
    return {noise.sigma_min, request.from != nullptr ? request.from->sigma : noise.sigma_max};
  }

  std::vector<energy::EnergyPtr> energies_at(const sampling::Chains& chains, double sigma) const {
    std::vector<energy::EnergyPtr> all;
    for (const auto& network : model.networks_)
      all.push_back(model.guided(*network, chains.labels, chains.size(), sigma, guidance()));
    return all;
  }

  /// Chains from number `begin` to `end` as their first step finds them, or of a model of noise levels as
  /// sample_from_noise takes them.
  sampling::Chains chains_of(std::int64_t begin, std::int64_t end) const {
    const at::Tensor some = labels.defined() ? labels.slice(0, begin, end).clone() : labels;
    if (const Continued* from = request.from) {
      const auto part = [&](const at::Tensor& t) { return t.slice(0, begin, end).clone(); };
      auto chains = sampling::Chains{part(from->x), some, part(from->stream), part(from->steps)}.to(model.device_);
      if (annealed()) sampling::add_noise(chains, at::full({}, from->sigma).to(model.device_), seed);
      return chains;
    }
    return sampling::start_chains(annealed() ? sampling::StartOptions{sampling::Start::normal} : sampler.start,
                                  model.graph_.input_shape, end - begin, request.first_stream + begin, some, seed)
        .to(model.device_);
  }

  /// Moved by as many steps as the sampler says.
  void move(sampling::Chains& chains) const {
    const auto at_level = [&](double sigma) { return energies_at(chains, sigma); };
    if (!annealed()) {
      sampling::sample(sampler, at_level(0), chains, seed, request.on_step);
    } else if (request.from != nullptr) {
      sampling::sample_annealed(sampler, range(), at_level, chains, seed, request.on_step);
    } else {
      sampling::sample_from_noise(sampler, range(), start_deviation(*model.spec_.noise), at_level, chains, seed,
                                  request.on_step);
    }
  }

  /// In the model's range, on the CPU, with what they are.
  Samples finished(at::Tensor x, const at::Tensor& some_labels) const {
    if (model.space_.kind == SampleSpace::Kind::image) x.clamp_(model.space_.low, model.space_.high);
    Samples samples;
    if (request.energies && x.size(0) > 0) {
      const double least = annealed() ? model.spec_.noise->sigma_min : 0;
      samples.energies = model.bound(*model.networks_.back(), some_labels, x.size(0), least)->energy(x).cpu();
    }
    samples.x = x.cpu();
    return samples;
  }

  Samples fixed() const {
    std::vector<Samples> parts;
    std::vector<at::Tensor> steps, streams;
    std::int64_t done = 0;
    try {
      for (; done < request.count; done = std::min(request.count, done + request.batch)) {
        auto chains = chains_of(done, std::min(request.count, done + request.batch));
        move(chains);
        parts.push_back(finished(chains.x, chains.labels));
        steps.push_back(chains.steps.cpu()), streams.push_back(chains.stream.cpu());
      }
    } catch (const sampling::Stop&) {
    }
    Samples samples = joined(parts);
    samples.steps = parts.empty() ? at::empty({0}, at::kLong) : at::cat(steps);
    samples.stream = parts.empty() ? at::empty({0}, at::kLong) : at::cat(streams);
    samples.evaluations = at::full({done}, sampling::gradient_count(sampler, annealed()), at::kLong);
    return samples;
  }

  Samples joined(const std::vector<Samples>& parts) const {
    std::vector<at::Tensor> x, energies;
    for (const Samples& part : parts) x.push_back(part.x), energies.push_back(part.energies);
    Samples samples;
    std::vector<std::int64_t> none = model.graph_.input_shape;
    none.insert(none.begin(), 0);
    samples.x = parts.empty() ? at::empty(none) : at::cat(x);
    if (request.energies) samples.energies = parts.empty() ? at::empty({0}) : at::cat(energies);
    return samples;
  }

  Samples settled() const {
    if (model.size() > 1)
      throw UserError("sampling.ensemble: chains that stop when they settle follow one network, got " +
                      std::to_string(model.size()));
    sampling::SettledOptions options = *request.until;
    const std::int64_t each = guidance() == 1 ? 1 : 2;
    if (options.most <= 0)
      options.most = std::max(sampling::gradient_count(sampler, annealed()), annealed() ? 1 : 20 * options.window);
    options.most = std::max<std::int64_t>(1, options.most / each);
    const sampling::SamplerOptions spent = sampling::within_budget(sampler, annealed());
    const bool anew = request.from == nullptr, moments = annealed() && anew && spent.annealing.moments;
    sampling::SamplerOptions flow = spent;
    flow.steps = 0, flow.flow.steps = anew ? spent.flow.steps : 0;
    engine::Prepared& network = *model.networks_.back();
    sampling::Batch batch{.count = request.count,
                          .slots = request.batch,
                          .begin = {},
                          .begin_cost = moments      ? 2
                                        : annealed() ? 0
                                                     : sampling::gradient_count(flow, false),
                          .seed = seed,
                          .on_round = request.on_round};
    batch.begin = [&](std::int64_t begin, std::int64_t end) {
      auto chains = chains_of(begin, end);
      if (annealed() && anew) {
        sampling::start_from_noise(
            sampler, range(), start_deviation(*model.spec_.noise),
            [&](double sigma) { return energies_at(chains, sigma); }, chains);
      }
      if (!annealed()) sampling::sample(flow, energies_at(chains, 0), chains, seed);
      return chains;
    };
    const sampling::Settled done = annealed() ? sampling::settle_through_levels(
                                                    options, spent.annealing.ancestral, range(),
                                                    [&](const at::Tensor& some, const at::Tensor& sigma) {
                                                      return model.guided(network, some, sigma, guidance());
                                                    },
                                                    batch)
                                              : sampling::settle(
                                                    options, sampling::more_steps(spent),
                                                    [&](const at::Tensor& some) { return network.given(some); }, batch);
    const std::int64_t count = done.x.size(0);
    std::vector<Samples> parts;
    for (std::int64_t begin = 0; begin < count; begin += request.batch) {
      const std::int64_t end = std::min(count, begin + request.batch);
      parts.push_back(finished(done.x.slice(0, begin, end).to(model.device_).contiguous(),
                               labels.defined() ? labels.slice(0, begin, end).to(model.device_) : labels));
    }
    Samples samples = joined(parts);
    samples.steps = done.steps, samples.evaluations = done.evaluations * each;
    samples.stream = request.from != nullptr ? request.from->stream.slice(0, 0, count)
                                             : at::arange(count, at::kLong) + request.first_stream;
    samples.sigma = done.sigma, samples.settled = done.settled;
    return samples;
  }
};

energy::EnergyPtr Model::guided(engine::Prepared& network, const at::Tensor& labels, const at::Tensor& sigma,
                                double guidance) const {
  const energy::EnergyPtr of_class = energy_at(graph_, network, labels, *spec_.noise, sigma);
  if (guidance == 1) return of_class;
  const energy::EnergyPtr of_none = energy_at(graph_, network, nn::untold(labels), *spec_.noise, sigma);
  return std::make_shared<energy::Sum>(std::vector{of_class, of_none}, std::vector{guidance, 1 - guidance});
}

Samples Model::sample(const SampleRequest& request) const {
  require_energy("draws no samples");
  const at::NoGradGuard no_grad;
  const std::int64_t count = request.count;
  if (count < 1 || request.batch < 1) throw UserError("sample: expected count and batch of at least 1");
  if (request.from != nullptr) check(*request.from, count);
  const at::Tensor labels =
      nn::labels(graph_, request.condition.empty() ? usual_condition(spec_, count) : request.condition, count);
  sampling::SamplerOptions sampler = request.sampler.value_or(settings_.sampling);
  if (const std::string problem = kernel_problem(settings_, sampler); !problem.empty())
    throw UserError("sampling.kernel: " + problem);
  if (annealed() && sampler.annealing.guidance != 1 && !spec_.optional_condition)
    throw UserError(
        "sampling.guidance: this model knows no class in particular; expected one trained with network.label_dropout");
  if (request.from != nullptr) sampler.annealing.moments = false;
  const std::uint64_t seed = request.seed.value_or(static_cast<std::uint64_t>(settings_.seed));
  const Drawing drawing{*this, request, labels, sampler, seed};
  Samples samples = request.until ? drawing.settled() : drawing.fixed();
  samples.condition = nn::Condition::of_labels(labels.defined() ? labels.slice(0, 0, samples.x.size(0)) : labels);
  return samples;
}

void Model::check(const Continued& from, std::int64_t count) const {
  std::vector<std::int64_t> expected = graph_.input_shape;
  expected.insert(expected.begin(), count);
  if (from.x.sizes().vec() != expected)
    throw UserError(fmt::format("samples to go on with: expected shape ({}), got ({})", fmt::join(expected, ", "),
                                fmt::join(from.x.sizes(), ", ")));
  for (const at::Tensor* t : {&from.stream, &from.steps}) {
    if (!t->defined() || t->sizes().vec() != std::vector{count} || t->scalar_type() != at::kLong)
      throw UserError("samples to go on with: expected a stream and steps of each, int64");
  }
  if (annealed() && !(from.sigma > spec_.noise->sigma_min && from.sigma <= spec_.noise->sigma_max))
    throw UserError(fmt::format("samples to go on with: expected a noise level above {} and up to {}, got {}",
                                spec_.noise->sigma_min, spec_.noise->sigma_max, from.sigma));
}

}  // namespace igebm::model
