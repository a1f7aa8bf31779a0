#include "igebm/generation/morph.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/energy/compose.h"
#include "igebm/sampling/schedule.h"

namespace igebm::generation {
namespace {

constexpr std::int64_t morph_streams = std::int64_t{1} << 45;  // far from those of samples
constexpr std::int64_t refinements = 2;  // of a step's inverse; each leaves a fifth of the error or less

/// Rows of one chain each; one row is everybody's.
nn::Condition rows_of_condition(const nn::Condition& c, std::int64_t begin, std::int64_t end) {
  const auto part = [&](const at::Tensor& t) {
    return t.defined() && t.size(0) > 1 ? t.slice(0, begin, end).contiguous() : t;
  };
  return {part(c.classes), part(c.values)};
}

nn::Condition repeated(const nn::Condition& c, std::int64_t times) {
  const auto each = [&](const at::Tensor& t) {
    return t.defined() && t.size(0) > 1 ? t.repeat_interleave(times, 0) : t;
  };
  return {each(c.classes), each(c.values)};
}

/// An energy between two conditions': (1 - t) E_from + t E_to.
struct Blend {
  nn::Condition from, to;
  double t = 1;
};

double noise_that_keeps(const model::NoiseScale& scale, double kept) {
  const double sigma = kept > 0 && kept < 1 ? scale.sigma_data * std::sqrt((1 - kept) / kept) : 0;
  if (sigma > scale.sigma_min && sigma <= scale.sigma_max) return sigma;
  const auto share = [&](double s) { return 1 / (1 + std::pow(s / scale.sigma_data, 2)); };
  throw UserError(
      fmt::format("morph: kept: expected from {:.2g} to {:.4g}, which are this model's noise levels, got {}",
                  share(scale.sigma_max), share(scale.sigma_min), kept));
}

/// Brings pictures up to a noise level and back, batch by batch.
class Mover {
 public:
  Mover(const model::Model& model, const MorphOptions& options)
      : model_(model), options_(options), sampler_(model.settings().sampling) {
    if (options.frames < 2) throw UserError(fmt::format("morph: expected at least 2 frames, got {}", options.frames));
    if (options.batch < 1) throw UserError("morph: expected a batch of at least 1");
    seed_ = options.seed.value_or(static_cast<std::uint64_t>(model.settings().seed));
    sampler_.budget = 0, sampler_.ensemble = 1, sampler_.flow.steps = 0, sampler_.steps = options.steps;
    if (!annealed()) return;
    if (options.levels < 2) throw UserError(fmt::format("morph: expected at least 2 levels, got {}", options.levels));
    range_ = {model.condition_spec().noise->sigma_min, noise_that_keeps(*model.condition_spec().noise, options.kept)};
    sampler_.annealing.levels = options.levels;
    sampler_.annealing.step_shares = {};
    sampler_.annealing.predictor = sampler_.annealing.denoise = true;
    sampler_.annealing.ancestral = options.ancestral;
  }

  bool annealed() const { return model_.condition_spec().noise.has_value(); }
  double sigma() const { return range_.sigma_max; }
  /// Gradients of one batch.
  std::int64_t up_count() const {
    return annealed() && options_.ascent == Ascent::flow ? 1 + refinements * (options_.levels - 1) : 0;
  }
  std::int64_t down_count() const { return sampling::step_count(sampler_, annealed()); }
  std::int64_t batches(std::int64_t rows) const { return (rows + options_.batch - 1) / options_.batch; }

  /// x (M, shape...) under noise of sigma; as it is of models without noise levels. The flow starts at the least noise,
  /// drawn, which the last step back takes away, and goes by the inverses of the steps back: y' with
  /// y = y' - (s' - s) s' dE/dx(y', s').
  at::Tensor up(const at::Tensor& x, const at::Tensor& streams, const nn::Condition& condition) {
    if (!annealed()) return x;
    const at::Tensor noise = noise_of(streams, x);
    if (options_.ascent == Ascent::drawn) return x + sigma() * noise;
    const auto levels = sampling::noise_levels(sampler_, range_);
    return in_batches(x + levels.back().sigma * noise, streams, [&](sampling::Chains& chains, std::int64_t begin) {
      const nn::Condition asked = rows_of_condition(condition, begin, begin + chains.size());
      at::Tensor& y = chains.x;
      const auto direction_at = [&](double at_sigma) {
        tell();
        return at_sigma * model_.energy(asked, at_sigma)->energy_and_gradient(y).gradient;
      };
      at::Tensor direction = direction_at(levels.back().sigma);
      for (auto level = levels.rbegin() + 1; level != levels.rend(); ++level) {
        const at::Tensor before = y;
        const double further = level->sigma - (level - 1)->sigma;
        for (std::int64_t i = 0; i < refinements; ++i)
          y = before + further * direction, direction = direction_at(level->sigma);
        y = before + further * direction;
      }
    });
  }

  /// y (M, shape...) under noise of sigma, brought back; of models without noise levels, moved. `seen` looks at chains
  /// after each step.
  at::Tensor down(const at::Tensor& y, const at::Tensor& streams, const Blend& blend,
                  const std::function<void(sampling::Position, const at::Tensor& x)>& seen = {}) {
    const sampling::OnStep on_step = [&](sampling::Position p, const sampling::StepInfo&, const sampling::Chains& c) {
      if (seen) seen(p, c.x);
      tell();
    };
    const at::Tensor x = in_batches(y, streams, [&](sampling::Chains& chains, std::int64_t begin) {
      const std::int64_t end = begin + chains.size();
      const Blend part{rows_of_condition(blend.from, begin, end), rows_of_condition(blend.to, begin, end), blend.t};
      if (annealed()) {
        sampling::sample_annealed(
            sampler_, range_, [&](double s) { return std::vector{energy_of(part, s)}; }, chains, seed_, on_step);
      } else {
        sampling::sample(sampler_, *energy_of(part, 0), chains, seed_, on_step);
      }
    });
    return clamped(x);
  }

  at::Tensor clamped(const at::Tensor& x) const {
    const auto& space = model_.space();
    return space.kind == model::SampleSpace::Kind::image ? x.clamp(space.low, space.high) : x;
  }
  void tell(std::int64_t count = 1) {
    done_ += count;
    if (options_.progress) options_.progress(done_, std::max(done_, total));
  }

  std::int64_t total = 0;  ///< gradients of all batches, for progress

 private:
  /// Chains of rows x, each batch moved by `move`, which is told its first row.
  at::Tensor in_batches(const at::Tensor& x, const at::Tensor& streams,
                        const std::function<void(sampling::Chains&, std::int64_t begin)>& move) const {
    std::vector<at::Tensor> parts;
    for (std::int64_t begin = 0; begin < x.size(0); begin += options_.batch) {
      const std::int64_t end = std::min(x.size(0), begin + options_.batch);
      sampling::Chains chains{.x = x.slice(0, begin, end).contiguous().clone(),
                              .labels = {},
                              .stream = streams.slice(0, begin, end).contiguous(),
                              .steps = at::zeros({end - begin}, at::kLong)};
      chains = chains.to(model_.device());
      move(chains, begin);
      parts.push_back(chains.x.cpu());
    }
    return at::cat(parts);
  }
  at::Tensor noise_of(const at::Tensor& streams, const at::Tensor& x) const {
    at::Tensor n = at::empty(x.sizes(), at::kFloat);
    const std::vector<std::int64_t> zeros(static_cast<std::size_t>(x.size(0)));
    random_normal_rows(seed_, Purpose::known_noise, {streams.data_ptr<std::int64_t>(), zeros.size()}, zeros,
                       n.numel() / x.size(0), n.data_ptr<float>());
    return n;
  }
  energy::EnergyPtr energy_of(const Blend& blend, double at_sigma) const {
    const auto told = [&](const nn::Condition& c) {
      return annealed() ? model_.energy(c, at_sigma) : model_.energy(c);
    };
    if (blend.t == 1) return told(blend.to);
    return std::make_shared<energy::Sum>(std::vector{told(blend.from), told(blend.to)},
                                         std::vector{1 - blend.t, blend.t});
  }

  const model::Model& model_;
  const MorphOptions& options_;
  sampling::SamplerOptions sampler_;
  sampling::NoiseRange range_;
  std::uint64_t seed_ = 0;
  std::int64_t done_ = 0;
};

at::Tensor streams_of(std::int64_t rows) { return at::arange(morph_streams, morph_streams + rows, at::kLong); }

double way_of(std::int64_t k, std::int64_t frames) { return static_cast<double>(k) / static_cast<double>(frames - 1); }

/// Between rows of a and b: the direction goes evenly from one to the other, and so does the norm.
at::Tensor spherical(const at::Tensor& a, const at::Tensor& b, double t) {
  const at::Tensor x = a.flatten(1), y = b.flatten(1), nx = x.norm(2, {1}, true), ny = y.norm(2, {1}, true);
  const at::Tensor angle = ((x * y).sum(1, true) / (nx * ny)).clamp(-1, 1).acos().clamp(1e-4, 3.1415);
  const at::Tensor direction = ((1 - t) * angle).sin() * x / nx + (t * angle).sin() * y / ny;
  return (((1 - t) * nx + t * ny) * direction / angle.sin()).view_as(a);
}

void require_shape_of(const model::Model& model, const at::Tensor& x) {
  if (x.dim() < 1 || x.size(0) < 1 || x.sizes().slice(1).vec() != model.space().shape)
    throw UserError(fmt::format("morph: expected records of shape ({}), at least one, got ({})",
                                fmt::join(model.space().shape, ", "), fmt::join(x.sizes(), ", ")));
}

/// Langevin steps from x under `to`, of which a frame is seen now and then.
Morphs walk(const model::Model& model, const at::Tensor& x, const nn::Condition& to, const MorphOptions& options) {
  MorphOptions whole = options;
  whole.steps = options.steps * (options.frames - 1);
  if (options.steps < 1)
    throw UserError("morph: this model takes no noise levels; expected at least one step between two frames");
  Mover mover(model, whole);
  mover.total = mover.batches(x.size(0)) * mover.down_count();
  std::vector<std::vector<at::Tensor>> seen(static_cast<std::size_t>(options.frames - 1));
  mover.down(x, streams_of(x.size(0)), {.from = {}, .to = to}, [&](sampling::Position p, const at::Tensor& now) {
    if ((p.step + 1) % options.steps == 0)
      seen[static_cast<std::size_t>(p.step / options.steps)].push_back(mover.clamped(now.to(at::kCPU, false, true)));
  });
  std::vector<at::Tensor> frames = {x};
  for (const auto& parts : seen) frames.push_back(at::cat(parts));
  return {.frames = at::stack(frames, 1), .gradients = mover.down_count()};
}

}  // namespace

std::int64_t usual_morph_steps(const model::Model& model) { return model.condition_spec().noise ? 0 : 40; }

at::Tensor draw_pictures(const model::Model& model, const nn::Condition& condition, std::int64_t count,
                         std::optional<std::uint64_t> seed, const sampling::OnStep& on_step) {
  model::SampleRequest request{
      .count = count, .condition = condition, .seed = seed, .energies = false, .on_step = on_step};
  if (condition.rows() == 1) {
    const auto all = [&](const at::Tensor& t) { return t.defined() ? t.repeat_interleave(count, 0) : t; };
    request.condition = {all(condition.classes), all(condition.values)};
  }
  const model::SampleSpace& space = model.space();
  return space.from_unit(space.to_unit(model.sample(request).x).mul(255).round().div(255));
}

Morphs change_class(const model::Model& model, const at::Tensor& x, const nn::Condition& from, const nn::Condition& to,
                    const MorphOptions& options) {
  const at::NoGradGuard no_grad;
  require_shape_of(model, x);
  Mover mover(model, options);
  if (!mover.annealed()) return walk(model, x, to, options);
  mover.total = mover.batches(x.size(0)) * (mover.up_count() + (options.frames - 1) * mover.down_count());
  const at::Tensor streams = streams_of(x.size(0)), y = mover.up(x, streams, from);
  std::vector<at::Tensor> frames = {x};
  for (std::int64_t k = 1; k < options.frames; ++k)
    frames.push_back(mover.down(y, streams, {from, to, options.guidance * way_of(k, options.frames)}));
  return {
      .frames = at::stack(frames, 1), .sigma = mover.sigma(), .gradients = mover.up_count() + 2 * mover.down_count()};
}

Morphs interpolate(const model::Model& model, const at::Tensor& a, const at::Tensor& b, const nn::Condition& from,
                   const nn::Condition& to, const MorphOptions& options) {
  const at::NoGradGuard no_grad;
  require_shape_of(model, a), require_shape_of(model, b);
  if (a.size(0) != b.size(0))
    throw UserError(fmt::format("morph: {} pictures to begin with and {} to end with", a.size(0), b.size(0)));
  Mover mover(model, options);
  const std::int64_t batches = mover.batches(a.size(0));
  mover.total = batches * (2 * mover.up_count() + (options.frames - 2) * mover.down_count());
  const at::Tensor streams = streams_of(a.size(0)), ya = mover.up(a, streams, from), yb = mover.up(b, streams, to);
  const bool alike = from.empty() && to.empty();
  std::vector<at::Tensor> frames = {a};
  for (std::int64_t k = 1; k + 1 < options.frames; ++k) {
    const double t = way_of(k, options.frames);
    const at::Tensor between = mover.annealed() ? spherical(ya, yb, t) : (1 - t) * ya + t * yb;
    frames.push_back(mover.down(between, streams, {from, to, alike ? 1 : t}));
  }
  frames.push_back(b);
  return {.frames = at::stack(frames, 1),
          .sigma = mover.sigma(),
          .gradients = 2 * mover.up_count() + (alike ? 1 : 2) * mover.down_count()};
}

Traversals traverse(const model::Model& model, const at::Tensor& x, const nn::Condition& condition,
                    const LanczosOptions& directions, double reach, const MorphOptions& options) {
  const at::NoGradGuard no_grad;
  require_shape_of(model, x);
  Mover mover(model, options);
  const std::int64_t n = x.size(0), elements = x[0].numel(), each = directions.count * options.frames,
                     most = std::min(directions.steps, elements);
  mover.total = mover.batches(n) * mover.up_count() + most + mover.batches(n * each) * mover.down_count();
  const at::Tensor streams = streams_of(n), y = mover.up(x, streams, condition);
  const energy::EnergyPtr energy = mover.annealed() ? model.energy(condition, mover.sigma()) : model.energy(condition);
  const at::Tensor at_y = y.to(model.device());
  const auto product = [&](const at::Tensor& v) {
    mover.tell();
    return energy->hessian_product(at_y, v.to(at::kFloat).view_as(y).to(model.device()))
        .cpu()
        .to(at::kDouble)
        .flatten(1);
  };
  Traversals out{.morphs = {.sigma = mover.sigma(), .gradients = mover.up_count() + mover.down_count()},
                 .along = lanczos(product, n, elements, directions)};
  mover.tell(most - out.along.products);
  const at::Tensor s = at::linspace(-reach, reach, options.frames)
                           .mul(mover.annealed() ? mover.sigma() : 1)
                           .view({1, 1, options.frames, 1});
  const at::Tensor moved = y.flatten(1).view({n, 1, 1, elements}) + s * out.along.vectors.to(at::kFloat).unsqueeze(2);
  std::vector<std::int64_t> shape = model.space().shape;
  shape.insert(shape.begin(), n * each);
  const at::Tensor frames =
      mover.down(moved.reshape(shape), streams.repeat_interleave(each), {.from = {}, .to = repeated(condition, each)});
  shape[0] = options.frames;
  shape.insert(shape.begin(), {n, directions.count});
  out.morphs.frames = frames.view(shape);
  return out;
}

}  // namespace igebm::generation
