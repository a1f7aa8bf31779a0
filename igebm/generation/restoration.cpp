#include "igebm/generation/restoration.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/energy/compose.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/schedule.h"

namespace igebm::generation {
namespace {

constexpr float unseen = std::numeric_limits<float>::infinity();     // as a deviation
constexpr std::int64_t restoration_streams = std::int64_t{1} << 44;  // far from those of samples

/// "1,2,3" as `count` numbers.
std::vector<double> list_of(const std::string& text, std::size_t count, const std::string& what) {
  std::vector<double> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size()) break;
    numbers.push_back(value);
  }
  if (numbers.size() != count || text.empty() || text.back() == ',')
    throw UserError(fmt::format("mask {}: expected {} number{}", what, count, count == 1 ? "" : "s"));
  return numbers;
}

/// (H, W) bool: not known, where the picture is brighter than half.
at::Tensor missing_of(const at::Tensor& picture, std::int64_t height, std::int64_t width, const std::string& name) {
  if (picture.size(0) != height || picture.size(1) != width)
    throw UserError(fmt::format("mask {}: {} x {} pixels, where the model's pictures have {} x {}", name,
                                picture.size(1), picture.size(0), width, height));
  return picture.select(2, 0) > 127;
}

/// The same by a text.
at::Tensor missing(const std::string& text, std::int64_t height, std::int64_t width, std::uint64_t seed) {
  at::Tensor out = at::zeros({height, width}, at::kBool);
  if (text == "bottom") return out.slice(0, height / 2).fill_(true), out;
  if (text == "top") return out.slice(0, 0, height / 2).fill_(true), out;
  if (text == "left") return out.slice(1, 0, width / 2).fill_(true), out;
  if (text == "right") return out.slice(1, width / 2).fill_(true), out;
  if (text.starts_with("box:")) {
    const auto n = list_of(text.substr(4), 4, text);
    const bool within = n[0] >= 0 && n[1] >= 0 && n[2] >= 1 && n[3] >= 1 && n[0] + n[2] <= static_cast<double>(width) &&
                        n[1] + n[3] <= static_cast<double>(height);
    if (!within || std::ranges::any_of(n, [](double v) { return v != std::floor(v); }))
      throw UserError(
          fmt::format("mask {}: expected whole X,Y,WIDTH,HEIGHT of a box within {} x {} pixels", text, width, height));
    const auto x = static_cast<std::int64_t>(n[0]), y = static_cast<std::int64_t>(n[1]);
    out.slice(0, y, y + static_cast<std::int64_t>(n[3])).slice(1, x, x + static_cast<std::int64_t>(n[2])).fill_(true);
    return out;
  }
  if (text.starts_with("random:")) {
    const double share = list_of(text.substr(7), 1, text)[0];
    if (!(share > 0 && share < 1)) throw UserError(fmt::format("mask {}: expected a share between 0 and 1", text));
    at::Tensor u = at::empty({height, width});
    random_uniform({seed, Purpose::mask, 0, 0}, {u.data_ptr<float>(), static_cast<std::size_t>(u.numel())});
    return u < share;
  }
  if (!io::has_picture_name(text))
    throw UserError(fmt::format(
        "mask \"{}\": expected bottom, top, left, right, box:X,Y,WIDTH,HEIGHT, random:SHARE or a picture's file",
        text));
  return missing_of(io::decode_picture(io::read_file(text), 1, text), height, width, text);
}

/// (C, H, W) bool: known.
at::Tensor known_of(const at::Tensor& gone, const std::vector<std::int64_t>& shape, const std::string& name) {
  if (!gone.any().item<bool>()) throw UserError(fmt::format("mask {}: nothing is missing", name));
  if (gone.all().item<bool>()) throw UserError(fmt::format("mask {}: nothing is known", name));
  return gone.logical_not().unsqueeze(0).expand(shape).contiguous();
}

void require_pictures(const std::vector<std::int64_t>& shape) {
  if (shape.size() != 3) throw UserError("mask: these records are no pictures");
}

/// What pictures are restored by: a model or a composition.
struct Source {
  const model::SampleSpace& space;
  c10::Device device;
  std::optional<sampling::NoiseRange> range;
  double start = 0;  ///< chains' standard deviation at the greatest noise
  sampling::SamplerOptions sampler;
  std::uint64_t seed = 0;
  std::function<energy::EnergyPtr(const nn::Condition&, double sigma)> energy;
};

/// Rows [begin, end) of a tensor with a row for each chain; one row is everybody's.
at::Tensor rows_of(const at::Tensor& t, std::int64_t begin, std::int64_t end) {
  return t.defined() && t.size(0) > 1 ? t.slice(0, begin, end).contiguous() : t;
}

/// What is seen of a picture, or of its coordinates: y, of deviation 0 where it is known and infinite where it is not.
struct Observation {
  at::Tensor y, deviation;                 // (N, shape...), and broadcast to it
  const LinearOperator* change = nullptr;  // whose coordinates they are
  double salt = 0;                         // probability, of pixels that are not known
  Observation of(std::int64_t begin, std::int64_t end, c10::Device device) const {
    return {rows_of(y, begin, end).to(device), rows_of(deviation, begin, end).to(device), change, salt};
  }
};

/// An energy of coordinates, by that of pictures.
class OfCoordinates : public energy::Energy {
 public:
  OfCoordinates(energy::EnergyPtr part, const LinearOperator& change) : part_(std::move(part)), change_(change) {}
  at::Tensor energy(const at::Tensor& z) const override { return part_->energy(change_.from_coordinates(z)); }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& z) const override {
    const energy::EnergyAndGradient of_x = part_->energy_and_gradient(change_.from_coordinates(z));
    return {of_x.energy, change_.to_coordinates(of_x.gradient)};
  }

 private:
  energy::EnergyPtr part_;
  const LinearOperator& change_;
};

/// 1/2 sum of precision (x - y)^2.
class Likelihood : public energy::Energy {
 public:
  Likelihood(at::Tensor y, at::Tensor precision) : y_(std::move(y)), precision_(std::move(precision)) {}
  at::Tensor energy(const at::Tensor& x) const override {
    return (precision_ * (x - y_).square()).flatten(1).sum(1) / 2;
  }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    return {energy(x), precision_ * (x - y_)};
  }

 private:
  at::Tensor y_, precision_;
};

/// -log((1 - p) exp(-(x - y)^2 / 2 v) + p / 2), summed over what is not known.
class SaltLikelihood : public energy::Energy {
 public:
  SaltLikelihood(at::Tensor y, at::Tensor unknown, double probability, double variance)
      : y_(std::move(y)), unknown_(std::move(unknown)), probability_(probability), variance_(variance) {}
  at::Tensor energy(const at::Tensor& x) const override {
    const at::Tensor kept = (1 - probability_) * at::exp((x - y_).square() / (-2 * variance_));
    return -(at::log(kept + probability_ / 2) * unknown_).flatten(1).sum(1);
  }
  energy::EnergyAndGradient energy_and_gradient(const at::Tensor& x) const override {
    const at::Tensor kept = (1 - probability_) * at::exp((x - y_).square() / (-2 * variance_));
    return {energy(x), kept / (kept + probability_ / 2) * (x - y_) / variance_ * unknown_};
  }

 private:
  at::Tensor y_, unknown_;
  double probability_, variance_;
};

/// Chains from the greatest noise to none, beside what was seen.
void anneal(const Source& source, const sampling::SamplerOptions& options, const nn::Condition& condition,
            const Observation& seen, sampling::Chains& chains, std::uint64_t seed, const sampling::OnStep& on_step) {
  at::Tensor noise;
  double up = 0;  // of the noise of a level, how much the step to it draws anew
  const at::Tensor variance = seen.deviation.square();
  const auto fixed_at = [&](double sigma) { return seen.deviation <= sigma; };
  const auto give = [&](const sampling::NoiseLevel& level, sampling::Chains& now) {
    const at::Tensor fixed = fixed_at(level.sigma);
    now.fixed = fixed.any().item<bool>() ? fixed : at::Tensor();
    if (!now.fixed.defined()) return;
    at::Tensor anew = sampling::normals_of(now, seed, Purpose::known_noise);
    if (noise.defined()) {
      up = std::min(up, level.sigma);
      const double down = std::sqrt(level.sigma * level.sigma - up * up);
      anew = (down * noise + up * anew) / level.sigma;
    }
    noise = anew, up = level.descent.noise;
    now.x = at::where(fixed, seen.y + (level.sigma * level.sigma - variance).clamp_min(0).sqrt() * noise, now.x);
  };
  const auto energies = [&](double sigma, bool moves) {
    std::vector<energy::EnergyPtr> parts = {source.energy(condition, sigma)};
    if (seen.change != nullptr) parts[0] = std::make_shared<OfCoordinates>(parts[0], *seen.change);
    const at::Tensor fixed = fixed_at(sigma), free = seen.deviation.isfinite().logical_and(fixed.logical_not());
    if (moves && free.any().item<bool>()) {
      // y is x under noise of sigma, and more noise. No steeper than sigma itself makes an energy, for which steps are
      // made.
      const at::Tensor left = (variance - sigma * sigma).clamp_min(sigma * sigma).reciprocal();
      parts.push_back(std::make_shared<Likelihood>(seen.y, at::where(free, left, 0)));
    }
    if (seen.salt > 0) {
      const double e = (source.space.high - source.space.low) / 255;
      parts.push_back(std::make_shared<SaltLikelihood>(seen.y, fixed.logical_not().to(at::kFloat), seen.salt,
                                                       sigma * sigma + e * e));
    }
    if (parts.size() == 1) return parts;
    return std::vector<energy::EnergyPtr>{std::make_shared<energy::Sum>(std::move(parts))};
  };
  const auto energies_at = [&](double sigma) { return energies(sigma, true); };
  // Of the chain at this level, y, which is it under more noise, tells nothing more of the next: the way there is the
  // model's own.
  const sampling::LevelHooks hooks{.before = give, .descent = [&](double sigma) { return energies(sigma, false); }};
  sampling::NoiseRange range = *source.range;
  const double greatest = seen.deviation.max().item<double>();
  if (greatest < range.sigma_max) {
    // All is seen under less noise: chains begin as it is.
    range.sigma_max = std::max(greatest, range.sigma_min);
    sampling::sample_annealed(options, range, energies_at, chains, seed, on_step, hooks);
    return;
  }
  sampling::sample_from_noise(options, range, source.start, energies_at, chains, seed, on_step, hooks);
}

}  // namespace

at::Tensor read_mask(const std::string& text, const std::vector<std::int64_t>& shape, std::uint64_t seed) {
  require_pictures(shape);
  return known_of(missing(text, shape[1], shape[2], seed), shape, text);
}

at::Tensor mask_of(const at::Tensor& picture, const std::vector<std::int64_t>& shape, const std::string& name) {
  require_pictures(shape);
  return known_of(missing_of(picture, shape[1], shape[2], name), shape, name);
}

sampling::SamplerOptions restoration_sampler(const model::Model& model, std::int64_t steps, std::int64_t levels) {
  const bool annealed = model.condition_spec().noise.has_value();
  sampling::SamplerOptions sampler = sampling::within_budget(model.settings().sampling, annealed);
  if (!annealed) return sampler;
  sampler.steps = steps;
  if (levels > 0) sampler.annealing.levels = levels;
  return sampler;
}

namespace {

// Of sigma^2, averaged Langevin's steps: noise alone bends an energy by 1 / sigma^2, y's likelihood by as much again,
// and the step that forgets at once what it came from is 1 / that.
constexpr double share_beside_known = 0.6, share_beside_likelihood = 0.5;

sampling::SamplerOptions checked(const Source& source, const RestorationOptions& options, double share,
                                 const char* who) {
  if (options.samples < 1 || options.batch < 1)
    throw UserError(fmt::format("{}: expected samples and batch of at least 1", who));
  sampling::SamplerOptions sampler =
      sampling::within_budget(options.sampler.value_or(source.sampler), source.range.has_value());
  sampler.ensemble = 1;
  if (source.range && sampler.kernel == "langevin")
    sampler.annealing.averaged = true, sampler.annealing.step_share = share;
  if (source.range && sampler.steps < 1)
    throw UserError(fmt::format(
        "{}: expected at least one step at each noise level, by which the rest takes to what is known", who));
  return sampler;
}

void require_shape(const at::Tensor& given, const std::vector<std::int64_t>& shape, const char* who) {
  if (given.dim() < 1 || given.sizes().slice(1).vec() != shape || given.size(0) < 1)
    throw UserError(fmt::format("{}: expected records of shape ({}), at least one, got ({})", who,
                                fmt::join(shape, ", "), fmt::join(given.sizes().slice(given.dim() > 0 ? 1 : 0), ", ")));
}

/// Streams of chains, `samples` of them after another for each picture, where they are `paired` two by two antithetic,
/// the last of an odd number alone.
at::Tensor streams_of(std::int64_t total, std::int64_t samples, bool paired) {
  const at::Tensor chain = restoration_streams + at::arange(total, at::kLong);
  if (!paired) return chain;
  const at::Tensor second = at::arange(total, at::kLong).remainder(samples).remainder(2);
  return chain - second + second * negated_stream;
}

/// (N, samples, shape...) of an observation of N x samples.
at::Tensor draw(const Source& source, const RestorationOptions& request, const sampling::SamplerOptions& options,
                const Observation& seen) {
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t>& shape = source.space.shape;
  const std::int64_t total = seen.y.size(0);
  const std::uint64_t seed = request.seed.value_or(source.seed);
  const auto of_chains = [&](const at::Tensor& rows) {  // a row, or N, for N x samples
    return rows.defined() && rows.size(0) > 1 ? rows.repeat_interleave(request.samples, 0) : rows;
  };
  const nn::Condition condition{of_chains(request.condition.classes), of_chains(request.condition.values)};
  const at::Tensor streams =
      streams_of(total, request.samples, request.antithetic && source.range && options.annealing.averaged);
  std::vector<std::int64_t> none = shape;
  none.insert(none.begin(), 0);
  std::vector<at::Tensor> parts = {at::empty(none)};
  for (std::int64_t begin = 0; begin < total; begin += request.batch) {
    const std::int64_t end = std::min(total, begin + request.batch);
    auto chains = sampling::start_chains(source.range ? sampling::StartOptions{sampling::Start::normal} : options.start,
                                         shape, streams.slice(0, begin, end), {}, seed)
                      .to(source.device);
    const Observation of_part = seen.of(begin, end, source.device);
    const nn::Condition asked{rows_of(condition.classes, begin, end), rows_of(condition.values, begin, end)};
    try {
      if (source.range) {
        anneal(source, options, asked, of_part, chains, seed, request.on_step);
      } else {
        chains.fixed = of_part.deviation <= 0;
        chains.x = at::where(chains.fixed, of_part.y, chains.x);
        sampling::sample(options, *source.energy(asked, 0), chains, seed, request.on_step);
      }
    } catch (const sampling::Stop&) {
      break;
    }
    at::Tensor x = chains.fixed.defined() ? at::where(chains.fixed, of_part.y, chains.x) : chains.x;
    if (seen.change != nullptr) x = seen.change->from_coordinates(x);
    if (source.space.kind == model::SampleSpace::Kind::image) {
      const at::Tensor inside = x.clamp(source.space.low, source.space.high);
      x = seen.change == nullptr && chains.fixed.defined() ? at::where(chains.fixed, x, inside) : inside;
    }
    parts.push_back(x.cpu());
  }
  const at::Tensor all = at::cat(parts);
  const std::int64_t pictures = all.size(0) / request.samples;  // whose answers are all there
  std::vector<std::int64_t> sizes = shape;
  sizes.insert(sizes.begin(), {pictures, request.samples});
  return all.slice(0, 0, pictures * request.samples).reshape(sizes);
}

at::Tensor complete(const Source& source, const at::Tensor& x, const at::Tensor& known,
                    const RestorationOptions& options) {
  const sampling::SamplerOptions sampler = checked(source, options, share_beside_known, "inpaint");
  require_shape(x, source.space.shape, "inpaint");
  const at::Tensor deviation = at::zeros(x.sizes()).masked_fill(known.logical_not(), unseen);
  return draw(source, options, sampler,
              {.y = x.to(at::kFloat).repeat_interleave(options.samples, 0),
               .deviation = deviation.repeat_interleave(options.samples, 0)});
}

Source source_of(const model::Model& model) {
  const auto& noise = model.condition_spec().noise;
  Source source{.space = model.space(),
                .device = model.device(),
                .sampler = model.settings().sampling,
                .seed = static_cast<std::uint64_t>(model.settings().seed)};
  if (noise) {
    source.range = sampling::NoiseRange{noise->sigma_min, noise->sigma_max};
    source.start = model::start_deviation(*noise);
  }
  source.energy = [&model, annealed = noise.has_value()](const nn::Condition& condition, double sigma) {
    return annealed ? model.energy(condition, sigma) : model.energy(condition);
  };
  return source;
}

void require_noise_levels(const Source& source, const char* who) {
  if (!source.range)
    throw UserError(
        fmt::format("{}: this model takes no noise levels; expected one trained by denoising score matching", who));
  if (source.space.kind != model::SampleSpace::Kind::image)
    throw UserError(fmt::format("{}: this model's records are no pictures", who));
}

}  // namespace

at::Tensor inpaint(const model::Model& model, const at::Tensor& x, const at::Tensor& known,
                   const RestorationOptions& options) {
  return complete(source_of(model), x, known, options);
}

at::Tensor inpaint(const Composite& composite, const at::Tensor& x, const at::Tensor& known,
                   const RestorationOptions& options) {
  Source source{.space = composite.space(),
                .device = composite.device(),
                .range = composite.range(),
                .sampler = composite.usual_sampler()};
  if (source.range) source.start = source.range->sigma_max / std::sqrt(source.range->weight);
  source.energy = [&](const nn::Condition&, double sigma) { return composite.energy(sigma); };
  return complete(source, x, known, options);
}

at::Tensor restore(const model::Model& model, const at::Tensor& y, double deviation, const LinearOperator* change,
                   const RestorationOptions& options) {
  const Source source = source_of(model);
  require_noise_levels(source, "restore");
  sampling::SamplerOptions sampler = checked(source, options, share_beside_likelihood, "restore");
  sampler.annealing.ancestral = 1;  // the next level's law given this one's, which is not a point, is the model's own
  if (!(deviation > 0 && std::isfinite(deviation)))
    throw UserError(fmt::format("restore: expected a noise above 0, got {}", deviation));
  std::vector<std::int64_t> shape = source.space.shape;
  if (change != nullptr) shape[1] = change->height(), shape[2] = change->width();
  require_shape(y, shape, "restore");
  const double worst = change != nullptr ? deviation / change->singular().min().item<double>() : deviation;
  if (const double least = source.range->sigma_min; worst <= least)
    throw UserError(
        fmt::format("nothing to restore: noise of at most {:.2g} is to be taken out, of pixels in [0, 1], and the "
                    "model knows none below {:.2g}",
                    worst / (source.space.high - source.space.low), least / (source.space.high - source.space.low)));
  Observation seen{.y = y.to(at::kFloat), .deviation = at::full({1, 1, 1}, deviation), .change = change};
  if (change != nullptr) {
    seen.deviation = deviation / change->singular();  // infinite where y says nothing
    seen.y = change->observed(seen.y);
  }
  seen.deviation = seen.deviation.expand(source.space.shape).unsqueeze(0);
  seen.y = seen.y.repeat_interleave(options.samples, 0);
  return draw(source, options, sampler, seen);
}

at::Tensor remove_salt(const model::Model& model, const at::Tensor& y, double probability,
                       const RestorationOptions& options) {
  const Source source = source_of(model);
  require_noise_levels(source, "salt");
  const sampling::SamplerOptions sampler = checked(source, options, share_beside_likelihood, "salt");
  if (!(probability > 0 && probability < 1))
    throw UserError(fmt::format("salt: expected a probability between 0 and 1, got {}", probability));
  require_shape(y, source.space.shape, "salt");
  const at::Tensor unit = source.space.to_unit(y.to(at::kFloat));
  constexpr double edge = 0.5 / 255;
  const at::Tensor extreme = (unit <= edge).all(1, true).logical_or((unit >= 1 - edge).all(1, true)).expand(y.sizes());
  const at::Tensor deviation = at::zeros(y.sizes()).masked_fill(extreme, unseen);
  return draw(source, options, sampler,
              {.y = y.to(at::kFloat).repeat_interleave(options.samples, 0),
               .deviation = deviation.repeat_interleave(options.samples, 0),
               .salt = probability});
}

}  // namespace igebm::generation
