#include "igebm/scoring/likelihood.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "igebm/base/clock.h"
#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/data/data.h"
#include "igebm/evaluation/formulas.h"
#include "igebm/generation/normaliser.h"
#include "igebm/scoring/noise_profile.h"
#include "igebm/scoring/pixel_baselines.h"
#include "igebm/scoring/plane_law.h"

namespace igebm::scoring {
namespace {

constexpr std::int64_t integration_levels = 48;

/// Some records of a split, as the model takes them.
struct Noised {
  at::Tensor x;       ///< float (N, ...), dequantised
  at::Tensor noised;  ///< x + sigma n
};

/// Rows of a set, of one class where the condition says which.
at::Tensor rows_of_class(const data::Dataset& set, const nn::Condition& condition) {
  if (!condition.classes.defined() || !condition.told() || !set.labels.defined())
    return at::arange(set.size(), at::kLong);
  const at::Tensor rows = set.labels.eq(condition.classes[0].item<std::int64_t>()).nonzero().squeeze(1);
  if (rows.size(0) == 0) throw UserError("the data have no records of that class");
  return rows;
}

Noised noised_records(const data::Dataset& set, const model::Model& model, const LikelihoodOptions& options,
                      double sigma, std::uint64_t stream) {
  const at::Tensor all = rows_of_class(set, options.condition);
  const at::Tensor rows =
      all.index_select(0, evaluation::choose(all.size(0), std::min(options.count, all.size(0)), options.seed, stream));
  data::Dataset some;
  some.x = set.take(rows);
  if (some.shape() != model.space().shape) throw UserError("the data and the model are of different shapes");
  Noised records{.x = data::Batches(some, model.settings().data, options.seed + stream).first(rows.size(0)).x};
  at::Tensor noise = at::empty_like(records.x);
  const std::int64_t elements = noise[0].numel();
  for (std::int64_t i = 0; i < noise.size(0); ++i)
    random_normal({options.seed, Purpose::score_noise, stream << 40U | static_cast<std::uint64_t>(i), 1},
                  {noise.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
  records.noised = records.x + sigma * noise;
  return records;
}

/// (N) double.
at::Tensor energies_of(const energy::Energy& energy, const at::Tensor& x, c10::Device device,
                       const Progress& progress) {
  constexpr std::int64_t batch = 128;
  std::vector<at::Tensor> found;
  for (std::int64_t begin = 0; begin < x.size(0); begin += batch) {
    found.push_back(energy.energy(x.slice(0, begin, begin + batch).contiguous().to(device)).to(at::kDouble).cpu());
    progress(std::min(begin + batch, x.size(0)), x.size(0));
  }
  return at::cat(found);
}

Interval mean_of(const at::Tensor& log_p) {
  const double mean = log_p.mean().item<double>(), count = static_cast<double>(log_p.size(0));
  const double half = count > 1 ? 1.96 * log_p.std().item<double>() / std::sqrt(count) : 0;
  return {mean, mean - half, mean + half};
}

/// Gaussians over training records, as densities of noised data in the model's range.
class Gaussians {
 public:
  Gaussians(const model::Model& model, double sigma) : space_(model.space()) {
    if (space_.kind == model::SampleSpace::Kind::points) {
      sigma_ = sigma;
      return;
    }
    // Bytes b are fitted as b / 255. Dequantised ones are (b + u) / 256 of the range, u of mean 1/2 and variance 1
    // / 12.
    const bool dequantised = model.settings().data.dequantize;
    factor_ = (dequantised ? 256.0 / 255 : 1) / (space_.high - space_.low);
    shift_ = dequantised ? 0.5 / 255 : 0;
    sigma_ = std::hypot(sigma * factor_, dequantised ? std::sqrt(1.0 / 12) / 255 : 0);
  }
  void add(const at::Tensor& records, double share) {
    parts_.emplace_back(records);
    log_shares_.push_back(std::log(share));
  }
  bool empty() const { return parts_.empty(); }
  /// (N) double, of the mixture.
  at::Tensor log_density(const at::Tensor& y) const {
    const double elements = static_cast<double>(y[0].numel());
    const at::Tensor z = space_.kind == model::SampleSpace::Kind::points ? y : (y - space_.low) * factor_ - shift_;
    std::vector<at::Tensor> each;
    for (std::size_t i = 0; i < parts_.size(); ++i)
      each.push_back(log_shares_[i] - parts_[i].profile(z, {sigma_}).energy.select(1, 0));
    return at::logsumexp(at::stack(each), 0) - elements * (std::log(2 * std::numbers::pi) / 2 - std::log(factor_));
  }

 private:
  model::SampleSpace space_;
  double factor_ = 1, shift_ = 0, sigma_ = 0;
  std::vector<PixelGaussian> parts_;
  std::vector<double> log_shares_;
};

/// Does the work, in order.
struct Measuring {
  const model::Model& model;
  const LikelihoodOptions& options;
  Observer& observer;
  Likelihood out = {};
  Noised test = {}, training = {};
  energy::EnergyPtr energy = {};

  Progress telling(const std::string& stage) const {
    return [this, stage](std::int64_t done, std::int64_t total) { observer.progress(stage, done, total); };
  }
  bool noise_levels() const { return model.condition_spec().noise.has_value(); }
  bool points() const { return model.space().kind == model::SampleSpace::Kind::points; }

  energy::EnergyPtr at(double sigma) const { return energy_under(model, options.condition, sigma); }

  void add(const std::string& name, const std::string& about, const Interval& log_z, double seconds = 0,
           std::optional<AnnealedEstimate> annealed = {}) {
    out.normalisers.push_back({name, about, log_z, std::move(annealed), seconds});
  }

  void begin(const data::Dataset& test_set, const data::Dataset& training_set) {
    const model::SampleSpace& space = model.space();
    out.sigma = noise_levels() ? options.sigma : 0;
    if (noise_levels() && out.sigma == 0) out.sigma = model.condition_spec().noise->sigma_min;
    test = noised_records(test_set, model, options, out.sigma, 1);
    training = noised_records(training_set, model, options, out.sigma, 2);
    out.elements = test.x[0].numel();
    out.test_count = test.x.size(0), out.training_count = training.x.size(0);
    out.seed = options.seed;
    if (!points()) {
      out.low = space.low, out.high = space.high, out.dequantised = model.settings().data.dequantize;
      out.grey_levels = out.dequantised ? 256 : 255;
    }
    energy = at(out.sigma);
    out.noise_nats = -static_cast<double>(out.elements) *
                     (std::log(2 * std::numbers::pi * std::numbers::e) / 2 + std::log(out.sigma));
  }

  /// By what noise levels tell of each other.
  void normalise_by_levels() {
    if (!noise_levels()) return;
    const auto& noise = *model.condition_spec().noise;
    const auto add_own = [&](double own) {
      if (options.levels_compare)
        add("own", "that of the greatest noise, a Gaussian, which all levels share", {own, own, own});
    };
    const auto records = [&](std::int64_t count) {
      return training.x.slice(0, 0, std::min(count, out.training_count)).contiguous().to(model.device());
    };
    if (options.integrated == 0) {
      if (options.levels_compare)
        add_own(generation::log_z_of_gaussian(*at(noise.sigma_max), noise.sigma_max,
                                              records(generation::gaussian_records), options.seed));
      return;
    }
    std::int64_t calls = 0;
    const double begun = now();
    const at::Tensor x = records(options.integrated);
    const auto n = generation::normaliser_of_samples(
        [&](double sigma) {
          observer.progress("log Z over noise levels", ++calls, 1 + 2 * integration_levels);
          return at(sigma);
        },
        {out.sigma, noise.sigma_max}, x, integration_levels, options.seed);
    const double last = n.log_z.back();
    add_own(n.log_z.front());
    add("integrated", fmt::format("over noise levels, with {} training records in the place of samples", x.size(0)),
        {last, last - 1.96 * n.deviation, last + 1.96 * n.deviation}, now() - begun);
  }

  std::optional<PlaneLaw> plane() const {
    if (model.space().shape != std::vector<std::int64_t>{2}) return {};
    const double extent = std::max(training.x.abs().max().item<double>(), test.x.abs().max().item<double>());
    return PlaneLaw(*energy, 1.5 * extent + 5 * out.sigma, model.device());
  }

  void anneal(const std::optional<PlaneLaw>& law) {
    const AnnealedOptions& o = *options.annealed;
    const std::vector<std::int64_t>& shape = model.space().shape;
    const AnnealedPath path =
        noise_levels()
            ? noise_path([this](double sigma) { return at(sigma); }, *model.condition_spec().noise, out.sigma, shape,
                         model.device())
            : geometric_path(energy, shape, std::sqrt(training.x.square().mean().item<double>()), model.device());
    const AnnealedSchedule schedule = learn_schedule(path, o, telling("annealing: steps learned"));
    double begun = now();
    AnnealedEstimate forwards = annealed_forwards(path, schedule, o, telling("annealing forwards"));
    const Interval up = forwards.log_z;
    add("forwards", "annealed importance sampling: log Z is above, in expectation", up, now() - begun,
        std::move(forwards));
    if (options.backwards == 0) return;
    begun = now();
    const at::Tensor from =
        law ? law->sample(options.backwards, options.seed) : test.noised.slice(0, 0, options.backwards);
    AnnealedEstimate backwards = annealed_backwards(path, schedule, from, o, telling("annealing backwards"));
    out.exact_samples = law.has_value();
    if (law) {
      const Interval down = backwards.log_z;
      add("backwards", "the same from exact samples: log Z is below, in expectation", down, now() - begun,
          std::move(backwards));
      return;
    }
    const at::Tensor log_p = -energies_of(*energy, from, model.device(), telling("energies")) - backwards.log_weights;
    out.rows.push_back({.name = "raise",
                        .about = "what the forward chains end as, in expectation at least",
                        .test = mean_of(log_p),
                        .count = from.size(0)});
  }

  void densities() {
    const at::Tensor of_test = energies_of(*energy, test.noised, model.device(), telling("energies of test records")),
                     of_training =
                         energies_of(*energy, training.noised, model.device(), telling("energies of training records"));
    std::vector<MeanLogDensity> rows;
    for (const LogNormaliser& n : out.normalisers)
      rows.push_back({.name = n.name,
                      .about = "-E - log Z, " + n.name,
                      .test = mean_of(-of_test - n.log_z.value),
                      .training = mean_of(-of_training - n.log_z.value)});
    out.rows.insert(out.rows.begin(), rows.begin(), rows.end());
  }

  void baselines(const data::Dataset& training_set) {
    const at::Tensor all = rows_of_class(training_set, options.condition);
    out.fitted = options.fitted > 0 ? std::min(options.fitted, all.size(0)) : all.size(0);
    const at::Tensor rows = all.index_select(0, evaluation::choose(all.size(0), out.fitted, options.seed, 3));
    const at::Tensor x = training_set.take(rows);
    Gaussians whole(model, out.sigma), by_class(model, out.sigma);
    whole.add(x, 1);
    observer.progress("Gaussians", 1, 1 + training_set.classes);
    if (training_set.labels.defined() && training_set.classes > 1 && !options.condition.classes.defined()) {
      const at::Tensor labels = training_set.labels.index_select(0, rows);
      for (std::int64_t c = 0; c < training_set.classes; ++c) {
        const at::Tensor of_class = labels.eq(c).nonzero().squeeze(1);
        const auto count = of_class.size(0);
        if (count > 1)
          by_class.add(x.index_select(0, of_class), static_cast<double>(count) / static_cast<double>(out.fitted));
        observer.progress("Gaussians", 2 + c, 1 + training_set.classes);
      }
    }
    const auto row = [&](const char* name, const char* about, const Gaussians& g) {
      out.rows.push_back({.name = name,
                          .about = about,
                          .baseline = true,
                          .test = mean_of(g.log_density(test.noised)),
                          .training = mean_of(g.log_density(training.noised))});
    };
    row("gaussian", "mean and covariance of training records, and the noise", whole);
    if (!by_class.empty()) row("class-gaussians", "one for each class, as often as it is", by_class);
  }
};

}  // namespace

double Likelihood::bits(double nats) const {
  const double scale = grey_levels > 0 ? std::log2(static_cast<double>(grey_levels) / (high - low)) : 0;
  return -nats / (static_cast<double>(elements) * std::numbers::ln2) + scale;
}

Likelihood likelihood(const model::Model& model, const LikelihoodOptions& options, Observer& observer) {
  const at::NoGradGuard no_grad;
  const auto& noise = model.condition_spec().noise;
  if (!noise && !options.annealed)
    throw UserError(
        "this model takes no noise levels, by which log Z would be known: ask for annealed importance sampling");
  if (noise && options.sigma != 0 && !(options.sigma >= noise->sigma_min && options.sigma < noise->sigma_max))
    throw UserError(
        fmt::format("sigma: expected from {} to below {}, got {}", noise->sigma_min, noise->sigma_max, options.sigma));
  if (!noise && options.sigma != 0) throw UserError("sigma: this model takes no noise levels");
  data::Options data = model.settings().data;
  const auto data_seed = static_cast<std::uint64_t>(model.settings().seed);
  const data::Dataset training_set = data::load(data, data::Split::train, data_seed);
  data.count = 0;
  const data::Dataset test_set = data::load(data, data::Split::test, data_seed);
  Measuring m{.model = model, .options = options, .observer = observer};
  m.begin(test_set, training_set);
  m.normalise_by_levels();
  const std::optional<PlaneLaw> law = m.plane();
  if (law) m.add("quadrature", "a sum over a grid", {law->log_z(), law->log_z(), law->log_z()});
  if (options.annealed) m.anneal(law);
  m.densities();
  m.baselines(training_set);
  return m.out;
}

}  // namespace igebm::scoring
