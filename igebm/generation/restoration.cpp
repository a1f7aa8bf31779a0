#include "igebm/generation/restoration.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <sstream>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/schedule.h"

namespace igebm::generation {
namespace {

constexpr std::int64_t inpainting_streams = std::int64_t{1} << 44;  // far from those of samples

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
    throw UserError(fmt::format("mask {}: expected {} numbers", what, count));
  return numbers;
}

/// (H, W) bool: not known.
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
  const at::Tensor picture = io::decode_picture(io::read_file(text), 1, text);
  if (picture.size(0) != height || picture.size(1) != width)
    throw UserError(fmt::format("mask {}: {} x {} pixels, where the model's pictures have {} x {}", text,
                                picture.size(1), picture.size(0), width, height));
  return picture.select(2, 0) > 127;
}

/// Standard normal numbers of x's shape, one stream a chain.
at::Tensor normal_like(const at::Tensor& x, std::uint64_t seed, std::int64_t first_stream, std::uint32_t step) {
  at::Tensor n = at::empty(x.sizes(), at::kFloat);
  const std::int64_t elements = n.numel() / std::max<std::int64_t>(1, n.size(0));
  for (std::int64_t i = 0; i < n.size(0); ++i)
    random_normal({seed, Purpose::known_noise, static_cast<std::uint64_t>(first_stream + i), step},
                  {n.data_ptr<float>() + i * elements, static_cast<std::size_t>(elements)});
  return n.to(x.device());
}

/// What is completed by: a model or a composition.
struct Source {
  const model::SampleSpace& space;
  c10::Device device;
  std::optional<sampling::NoiseRange> range;
  double deviation = 0;  ///< of chains' start at the greatest noise
  sampling::SamplerOptions sampler;
  std::uint64_t seed = 0;
  std::function<energy::EnergyPtr(const nn::Condition&, double sigma)> energy;
};

/// Chains from the greatest noise to none, beside y where `known`.
void anneal(const Source& source, const sampling::SamplerOptions& options, const nn::Condition& condition,
            const at::Tensor& y, const at::Tensor& known, sampling::Chains& chains, std::uint64_t seed,
            const sampling::OnStep& on_step) {
  const auto first = chains.stream[0].item<std::int64_t>();
  std::uint32_t drawn = 0;
  at::Tensor noise;
  double up = 0;  // of the noise of a level, how much the step to it draws anew
  const auto give = [&](const sampling::NoiseLevel& level, sampling::Chains& now) {
    at::Tensor anew = normal_like(y, seed, first, drawn++);
    if (noise.defined()) {
      up = std::min(up, level.sigma);
      const double down = std::sqrt(level.sigma * level.sigma - up * up);
      anew = (down * noise + up * anew) / level.sigma;
    }
    noise = anew, up = level.descent.noise;
    now.x = at::where(known, y + level.sigma * noise, now.x);
  };
  sampling::sample_from_noise(
      options, *source.range, source.deviation,
      [&](double sigma) { return std::vector{source.energy(condition, sigma)}; }, chains, seed, on_step, give);
}

}  // namespace

at::Tensor read_mask(const std::string& text, const std::vector<std::int64_t>& shape, std::uint64_t seed) {
  if (shape.size() != 3) throw UserError("mask: these records are no pictures");
  const at::Tensor gone = missing(text, shape[1], shape[2], seed);
  if (!gone.any().item<bool>()) throw UserError(fmt::format("mask {}: nothing is missing", text));
  if (gone.all().item<bool>()) throw UserError(fmt::format("mask {}: nothing is known", text));
  return gone.logical_not().unsqueeze(0).expand(shape).contiguous();
}

namespace {

at::Tensor complete(const Source& source, const InpaintRequest& request) {
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t>& shape = source.space.shape;
  if (request.x.dim() < 1 || request.x.sizes().slice(1).vec() != shape)
    throw UserError(fmt::format("inpaint: expected records of shape ({}), got ({})", fmt::join(shape, ", "),
                                fmt::join(request.x.sizes().slice(1), ", ")));
  if (request.samples < 1 || request.batch < 1 || request.x.size(0) < 1)
    throw UserError("inpaint: expected records, samples and batch of at least 1");
  const std::int64_t count = request.x.size(0), total = count * request.samples;
  const bool annealed = source.range.has_value();
  sampling::SamplerOptions options = sampling::within_budget(request.sampler.value_or(source.sampler), annealed);
  options.ensemble = 1;
  if (annealed && options.steps < 1)
    throw UserError(
        "inpaint: expected at least one step at each noise level, by which the rest takes to what is known");
  const std::uint64_t seed = request.seed.value_or(source.seed);
  const auto of_chains = [&](const at::Tensor& rows) {  // a row, or N, for N x samples
    return rows.defined() && rows.size(0) > 1 ? rows.repeat_interleave(request.samples, 0) : rows;
  };
  const at::Tensor y = request.x.to(at::kFloat).repeat_interleave(request.samples, 0);
  const at::Tensor known = request.known.expand(request.x.sizes()).repeat_interleave(request.samples, 0);
  const nn::Condition condition{of_chains(request.condition.classes), of_chains(request.condition.values)};
  std::vector<at::Tensor> parts;
  for (std::int64_t begin = 0; begin < total; begin += request.batch) {
    const std::int64_t end = std::min(total, begin + request.batch);
    const auto part = [&](const at::Tensor& rows) {
      return rows.defined() && rows.size(0) > 1 ? rows.slice(0, begin, end).contiguous() : rows;
    };
    auto chains = sampling::start_chains(annealed ? sampling::StartOptions{sampling::Start::normal} : options.start,
                                         shape, end - begin, inpainting_streams + begin, {}, seed)
                      .to(source.device);
    const at::Tensor of_part = part(y).to(source.device);
    chains.fixed = part(known).to(source.device);
    const nn::Condition asked{part(condition.classes), part(condition.values)};
    if (annealed) {
      anneal(source, options, asked, of_part, chains.fixed, chains, seed, request.on_step);
    } else {
      chains.x = at::where(chains.fixed, of_part, chains.x);
      sampling::sample(options, *source.energy(asked, 0), chains, seed, request.on_step);
    }
    const bool pictures = source.space.kind == model::SampleSpace::Kind::image;
    const at::Tensor inside = pictures ? chains.x.clamp(source.space.low, source.space.high) : chains.x;
    parts.push_back(at::where(chains.fixed, of_part, inside).cpu());
  }
  std::vector<std::int64_t> sizes = shape;
  sizes.insert(sizes.begin(), {count, request.samples});
  return at::cat(parts).reshape(sizes);
}

}  // namespace

at::Tensor inpaint(const model::Model& model, const InpaintRequest& request) {
  const auto& noise = model.condition_spec().noise;
  Source source{.space = model.space(),
                .device = model.device(),
                .sampler = model.settings().sampling,
                .seed = static_cast<std::uint64_t>(model.settings().seed)};
  if (noise) {
    source.range = sampling::NoiseRange{noise->sigma_min, noise->sigma_max};
    source.deviation = model::start_deviation(*noise);
  }
  source.energy = [&](const nn::Condition& condition, double sigma) {
    return noise ? model.energy(condition, sigma) : model.energy(condition);
  };
  return complete(source, request);
}

at::Tensor inpaint(const Composite& composite, const InpaintRequest& request) {
  Source source{.space = composite.space(),
                .device = composite.device(),
                .range = composite.range(),
                .sampler = composite.usual_sampler()};
  if (source.range) source.deviation = source.range->sigma_max / std::sqrt(source.range->weight);
  source.energy = [&](const nn::Condition&, double sigma) { return composite.energy(sigma); };
  return complete(source, request);
}

}  // namespace igebm::generation
