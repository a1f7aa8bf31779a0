#include "igebm/evaluation/neighbours.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/evaluation/evaluate.h"
#include "igebm/io/picture.h"

namespace igebm::evaluation {
namespace {

constexpr std::int64_t fewest_held_out = 20;  // the normal approximation of the rank test holds from about here on

/// The nearest of a part of the records.
Nearest nearest_in_part(const at::Tensor& x, const std::vector<at::Tensor>& views, std::int64_t begin, std::int64_t end,
                        std::int64_t count) {
  // |x - y|^2 but for |x|^2, which is the same for all y. Of bytes these are whole numbers, and exact.
  at::Tensor least, which;
  for (std::size_t v = 0; v < views.size(); ++v) {
    const at::Tensor y = views[v].slice(0, begin, end).flatten(1).to(at::kDouble),
                     squares = y.square().sum(1) - 2 * at::matmul(x, y.t());
    which = v == 0 ? at::zeros_like(squares, at::kLong)
                   : at::where(squares.lt(least), at::full({}, static_cast<std::int64_t>(v), at::kLong), which);
    least = v == 0 ? squares : at::minimum(least, squares);
  }
  const auto [value, row] = least.topk(std::min(count, end - begin), 1, /*largest=*/false);
  return {value, row + begin, which.gather(1, row)};
}

/// The least `count` of both.
Nearest merged(const Nearest& a, const Nearest& b, std::int64_t count) {
  const at::Tensor distances = at::cat({a.distances, b.distances}, 1);
  const auto [value, at] = distances.topk(std::min(count, distances.size(1)), 1, /*largest=*/false);
  return {value, at::cat({a.records, b.records}, 1).gather(1, at), at::cat({a.views, b.views}, 1).gather(1, at)};
}

/// Pictures as a file would hold them, as extract_all takes them. Throws UserError for numbers that are not finite.
at::Tensor as_bytes(const Records& records) {
  if (records.x.scalar_type() == at::kByte) return records.x;
  if (!records.x.isfinite().all().item<bool>())
    throw UserError(fmt::format("{}: hold numbers that are not finite", records.name));
  return records.x.mul(256).floor().clamp(0, 255).to(at::kByte);
}

/// What samples are compared with.
struct Real {
  data::Dataset training, held_out;
  data::Split split = data::Split::test;
  FeaturesPtr features;  ///< null: none
};

/// Whatever can be refused is refused here, before samples are drawn.
Real load(const std::vector<std::int64_t>& shape, const data::Options& data, std::uint64_t data_seed,
          const NeighbourOptions& options) {
  if (shape.size() != 3) throw UserError("these samples are points, where pictures are expected");
  Real real{.split = options.held_out};
  if (!options.features.empty()) {
    real.features = load_features(options.features);
    real.features->extract(at::zeros(shape).unsqueeze(0));
  }
  real.training = data::load(data, data::Split::train, data_seed);
  data::Options others = data;
  if (real.split == data::Split::test) others.count = 0;  // which is of training pictures
  try {
    real.held_out = data::load(others, real.split, data_seed);
  } catch (const UserError&) {
    // A set without a test split: what training has held out is as good.
    if (real.split == data::Split::validation || data.validation == 0) throw;
    real.held_out = data::load(data, real.split = data::Split::validation, data_seed);
  }
  for (const data::Dataset* set : {&real.training, &real.held_out}) {
    if (set->shape() != shape)
      throw UserError(fmt::format("{}: pictures of shape ({}), where the samples have ({})", data.name,
                                  fmt::join(set->shape(), ", "), fmt::join(shape, ", ")));
    set->all();  // or it says that they are too many to keep
  }
  if (real.held_out.size() < fewest_held_out)
    throw UserError(fmt::format("{}: {} {} pictures, where at least {} are expected for a test", data.name,
                                real.held_out.size(), name_of(real.split), fewest_held_out));
  const std::int64_t count = std::max<std::int64_t>(options.nearest, 2);
  if (options.nearest < 1 || count > real.training.size())
    throw UserError(fmt::format("{}: {} nearest of {} training pictures", data.name, count, real.training.size()));
  return real;
}

/// As many held-out pictures of each class as there are samples of it, or all; without labels, of any class.
at::Tensor chosen(const data::Dataset& held_out, const Records& samples, std::uint64_t seed) {
  const auto some = [&](std::int64_t total, std::int64_t count, std::uint64_t stream) {
    return choose(total, std::min(count, total), seed, stream);
  };
  if (!samples.labels.defined() || !held_out.labels.defined()) return some(held_out.size(), samples.size(), 0);
  std::vector<at::Tensor> rows;
  for (std::int64_t label = 0; label < held_out.classes; ++label) {
    const at::Tensor of_class = held_out.labels.eq(label).nonzero().squeeze(1);
    const auto count = samples.labels.eq(label).sum().item<std::int64_t>();
    rows.push_back(of_class.index_select(0, some(of_class.size(0), count, static_cast<std::uint64_t>(label))));
  }
  return at::cat(rows);
}

double fraction(const at::Tensor& which) { return which.to(at::kDouble).mean().item<double>(); }

double copies(const Nearest& nearest) {
  return fraction(nearest.distances.select(1, 0).le(nearest.distances.select(1, 1) / 3));
}

Nearness nearness(std::string in, const at::Tensor& samples, const at::Tensor& held_out,
                  const std::vector<at::Tensor>& views, std::int64_t nearest, Observer& observer) {
  const auto search = [&](const char* whose, const at::Tensor& x) {
    return nearest_records(x, views, std::max<std::int64_t>(nearest, 2), [&](std::int64_t done, std::int64_t total) {
      if (done < total) observer.progress(whose, done, total);
    });
  };
  Nearness n{.in = std::move(in),
             .samples = search("neighbours of samples", samples),
             .held_out = search("neighbours of held-out pictures", held_out)};
  const at::Tensor ours = n.samples.distances.select(1, 0), theirs = n.held_out.distances.select(1, 0);
  n.samples_median = ours.quantile(0.5).item<double>(), n.held_out_median = theirs.quantile(0.5).item<double>();
  n.test = rank_test(ours, theirs);
  n.quantile = theirs.quantile(0.01).item<double>();
  n.below = fraction(ours.lt(n.quantile));
  n.copies = copies(n.samples), n.held_out_copies = copies(n.held_out);
  return n;
}

Neighbours compare(const Records& samples, const Real& real, bool mirrored, const NeighbourOptions& options,
                   std::uint64_t seed, Observer& observer) {
  Neighbours found{.samples = samples,
                   .training = real.training.all(),
                   .mirrored = mirrored,
                   .split = real.split,
                   .nearest = options.nearest,
                   .seed = seed};
  found.samples.x = as_bytes(samples);
  const at::Tensor held_out = real.held_out.take(chosen(real.held_out, samples, seed));
  if ((found.held_out = held_out.size(0)) < fewest_held_out)
    throw UserError(fmt::format("{} {} pictures of the samples' classes, where at least {} are expected for a test",
                                found.held_out, name_of(real.split), fewest_held_out));
  std::vector<at::Tensor> views = {found.training};
  if (mirrored) views.push_back(found.training.flip(3));
  found.in.push_back(nearness("pixels", found.samples.x, held_out, views, options.nearest, observer));
  if (!real.features) return found;
  const auto extract = [&](const char* whose, const at::Tensor& pictures) {
    return extract_all(*real.features, pictures, 250,
                       [&](std::int64_t done, std::int64_t total) { observer.progress(whose, done, total); })
        .features;
  };
  for (at::Tensor& view : views) view = extract("features of training pictures", view);
  found.in.push_back(nearness(real.features->description(), extract("features of samples", found.samples.x),
                              extract("features of held-out pictures", held_out), views, options.nearest, observer));
  return found;
}

}  // namespace

Nearest nearest_records(const at::Tensor& x, const std::vector<at::Tensor>& views, std::int64_t count,
                        const Progress& progress) {
  constexpr std::int64_t rows = 1024, part = 4096;
  const std::int64_t total = views.at(0).size(0);
  const bool bytes = x.scalar_type() == at::kByte;
  if (count < 1 || count > total)
    throw UserError(fmt::format("nearest records: expected 1 to {} of them, got {}", total, count));
  for (const at::Tensor& view : views) {
    if (view.size(0) != total || view[0].numel() != x[0].numel() || (view.scalar_type() == at::kByte) != bytes)
      throw UserError(fmt::format("nearest records: {} numbers ({}), and {} ({}) in what they are compared with",
                                  x[0].numel(), at::toString(x.scalar_type()), view[0].numel(),
                                  at::toString(view.scalar_type())));
  }
  std::vector<at::Tensor> distances, records, in;
  for (std::int64_t first = 0; first < x.size(0); first += rows) {
    const at::Tensor some = x.slice(0, first, first + rows).flatten(1).to(at::kDouble);
    Nearest best;
    for (std::int64_t begin = 0; begin < total; begin += part) {
      const Nearest more = nearest_in_part(some, views, begin, std::min(begin + part, total), count);
      best = begin == 0 ? more : merged(best, more, count);
    }
    const at::Tensor squares = best.distances + some.square().sum(1, /*keepdim=*/true);
    distances.push_back(squares.clamp_min(0).sqrt() / (bytes ? 255.0 : 1.0));
    records.push_back(best.records), in.push_back(best.views);
    if (progress) progress(first + some.size(0), x.size(0));
  }
  return {at::cat(distances), at::cat(records), at::cat(in)};
}

Neighbours neighbours(const model::Model& model, const NeighbourOptions& options, Observer& observer) {
  const at::NoGradGuard no_grad;
  const data::Options& data = model.settings().data;
  const auto data_seed = static_cast<std::uint64_t>(model.settings().seed);
  const std::uint64_t seed = options.seed.value_or(data_seed);
  const Real real = load(model.space().shape, data, data_seed, options);
  return compare(draw(model, {.count = options.samples, .seed = seed}, observer), real, data.flip, options, seed,
                 observer);
}

Neighbours neighbours(const Records& samples, const data::Options& data, const NeighbourOptions& options,
                      Observer& observer) {
  const at::NoGradGuard no_grad;
  const Real real = load(samples.shape(), data, 0, options);
  return compare(samples, real, data.flip, options, options.seed.value_or(0), observer);
}

at::Tensor picture_of(const Neighbours& n, std::int64_t count) {
  count = std::min(count, n.samples.size());
  const auto block = [](const at::Tensor& bytes, std::int64_t columns) {
    return io::grid(bytes.to(at::kFloat).div(255), columns);
  };
  std::vector<at::Tensor> blocks = {block(n.samples.x.slice(0, 0, count), 1)};
  for (const Nearness& in : n.in) {
    const auto shown = [&](const at::Tensor& of_each) {
      return of_each.slice(0, 0, count).slice(1, 0, n.nearest).flatten();
    };
    const at::Tensor pictures = n.training.index_select(0, shown(in.samples.records)),
                     mirrored = shown(in.samples.views).eq(1).view({-1, 1, 1, 1});
    blocks.push_back(block(at::where(mirrored, pictures.flip(3), pictures), n.nearest));
  }
  return io::side_by_side(blocks);
}

}  // namespace igebm::evaluation
