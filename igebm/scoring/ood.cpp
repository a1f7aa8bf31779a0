#include "igebm/scoring/ood.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/scoring/pixel_baselines.h"

namespace igebm::scoring {
namespace {

/// From 1 to .01 of pixels in [0, 1].
std::vector<double> pixel_levels() {
  std::vector<double> sigmas;
  for (int i = 0; i < 10; ++i) sigmas.push_back(std::pow(10, -2 * i / 9.0));
  return sigmas;
}

at::Tensor from_median(const at::Tensor& scores, double median) { return (scores - median).abs(); }
double median_of(const at::Tensor& scores) { return scores.median().item<double>(); }

/// All that is fitted, on training pictures.
struct Judge {
  const OodOptions& options;
  Scorer scorer;
  std::optional<Scorer> background;
  std::optional<Mahalanobis> pixel_distance;
  double png = 0, variation = 0, pixel_energy = 0;

  Judge(const model::Model& model, const OodOptions& o, const at::Tensor& usual, const at::Tensor& pixels,
        Observer& observer)
      : options(o), scorer(model, o.scorer) {
    scorer.fit(usual, pixels,
               [&](std::int64_t done, std::int64_t total) { observer.progress("training pictures", done, total); });
    if (o.background != nullptr) background.emplace(*o.background, ScorerOptions{.levels = 1});
    png = median_of(png_lengths(usual)), variation = median_of(total_variations(usual));
    const Profile profile = scorer.usual().pixels->profile(usual, pixel_levels());
    pixel_distance.emplace(profile.log_norm);
    pixel_energy = median_of(profile.energy.select(1, -1));
  }

  /// Of bytes, in ood_scores' order.
  std::vector<at::Tensor> of(const at::Tensor& x, const std::string& name, Observer& observer) const {
    const Progress progress = [&](std::int64_t done, std::int64_t total) { observer.progress(name, done, total); };
    const Scores scores = scorer.of(x, -1, progress);
    const Profile pixels = scorer.usual().pixels->profile(x, pixel_levels());
    const at::Tensor pixel = pixels.energy.select(1, -1), beside = background ? background->energies(x) : pixel;
    return {scores.anomaly,
            scores.energy,
            scorer.refined(
                x, options.refine,
                [&](std::int64_t done, std::int64_t total) { observer.progress(name + ", refined", done, total); }),
            scores.profile.log_norm.select(1, 0),
            from_median(scores.energy, scorer.usual().energy),
            scores.energy - beside,
            from_median(png_lengths(x), png),
            from_median(total_variations(x), variation),
            pixel,
            from_median(pixel, pixel_energy),
            pixel_distance->of(pixels.log_norm)};
  }
};

/// Those that are there, with what is said of the others.
std::vector<PictureSet> load_sets(const model::Model& model, const OodOptions& options, std::uint64_t seed,
                                  const at::Tensor& test, std::vector<std::string>& missing) {
  std::vector<PictureSet> sets;
  for (const std::string& what : options.sets.empty() ? usual_sets(model) : options.sets) {
    try {
      sets.push_back(load_set(what, model, test, options.count, seed));
    } catch (const NoSet& e) {
      missing.emplace_back(e.what());
    }
    for (std::size_t i = 0; i + 1 < sets.size(); ++i) {
      if (sets[i].name == sets.back().name) throw UserError(fmt::format("--ood {}: given twice", what));
    }
  }
  if (sets.empty()) throw UserError(fmt::format("no set to compare with: {}", fmt::join(missing, "; ")));
  return sets;
}

}  // namespace

const std::vector<OodScore>& ood_scores() {
  static const std::vector<OodScore> all = {
      {"anomaly", "the default: Scorer"},
      {"energy", "E at the least noise level"},
      {"refined", "how far E falls by steps against its gradient"},
      {"gradient", "log |dE/dx| at the least noise level"},
      {"typicality", "|E - the median of training pictures|"},
      {"ratio", "E less the energy of the background"},
      {"png", "the length as a PNG file, its distance from the median", true},
      {"variation", "total variation, its distance from the median", true},
      {"gaussian", "-log p of a Gaussian over pixels", true},
      {"gaussian-typicality", "the same, its distance from the median", true},
      {"gaussian-levels", "Mahalanobis distance of log sigma |dE/dx| of that Gaussian at 10 noise levels", true},
  };
  return all;
}

std::optional<double> Ood::mean_auroc(std::size_t score, bool near) const {
  double sum = 0;
  int count = 0;
  for (const OodSet& set : sets) {
    if (set.near == near) sum += set.separations[score].auroc.value, ++count;
  }
  return count > 0 ? std::optional(sum / count) : std::nullopt;
}

Ood out_of_distribution(const model::Model& model, const OodOptions& options, Observer& observer) {
  const at::NoGradGuard no_grad;
  if (model.space().kind != model::SampleSpace::Kind::image) throw UserError("this model's records are no pictures");
  Ood ood{.seed = options.seed.value_or(0)};
  const PictureSet test = load_own(model, Own::test, options.count, ood.seed),
                   usual = load_own(model, Own::held_out, options.usual, ood.seed);
  const std::vector<PictureSet> sets = load_sets(model, options, ood.seed, test.x, ood.missing);
  for (const std::string& line : ood.missing) observer.message(line);
  ood.usual = usual.name, ood.usual_count = usual.x.size(0), ood.test_count = test.x.size(0);
  const Judge judge(model, options, usual.x, load_own(model, Own::training, options.pixels, ood.seed).x, observer);
  ood.test = judge.of(test.x, "test", observer);
  for (const PictureSet& set : sets) {
    OodSet& out = ood.sets.emplace_back(
        OodSet{.name = set.name, .made = set.made, .near = is_near(set.name), .count = set.x.size(0)});
    out.scores = judge.of(set.x, set.name, observer);
    for (std::size_t i = 0; i < out.scores.size(); ++i)
      out.separations.push_back(separation(ood.test[i], out.scores[i], {.draws = options.draws, .seed = ood.seed}));
  }
  return ood;
}

at::Tensor histograms(const Ood& ood, std::size_t score) {
  constexpr std::int64_t bins = 60, bar = 6, height = 60, gap = 6;
  const at::Tensor test = ood.test[score].to(at::kDouble);
  std::vector<at::Tensor> all = {test};
  for (const OodSet& set : ood.sets) all.push_back(set.scores[score].to(at::kDouble));
  // Far sets are far off: the middle of all, by the logarithm of the distance from the least.
  const double least = at::cat(all).min().item<double>();
  const double unit = std::max(1e-12, median_of(test) - least);
  const auto along = [&](const at::Tensor& scores) { return ((scores - least) / unit + 0.1).log(); };
  const double low = std::log(0.1), high = std::max(low + 1, along(at::cat(all).clamp_max(1e300)).max().item<double>());
  const auto counts = [&](const at::Tensor& scores) {
    const at::Tensor place = ((along(scores) - low) / (high - low) * bins).floor().clamp(0, bins - 1).to(at::kLong);
    return place.bincount({}, bins).to(at::kDouble) / static_cast<double>(scores.size(0));
  };
  const at::Tensor usual = counts(test);
  at::Tensor sheet = at::full(
      {static_cast<std::int64_t>(ood.sets.size()) * (height + gap) + gap, bins * bar + 2 * gap, 3}, 255, at::kByte);
  for (std::size_t i = 0; i < ood.sets.size(); ++i) {
    const at::Tensor odd = counts(all[i + 1]);
    const double greatest = std::max(usual.max().item<double>(), odd.max().item<double>());
    at::Tensor row =
        sheet.narrow(0, gap + static_cast<std::int64_t>(i) * (height + gap), height).narrow(1, gap, bins * bar);
    for (std::int64_t b = 0; b < bins; ++b) {
      const auto draw = [&](double share, const at::Tensor& colour, std::int64_t width) {
        const auto tall = static_cast<std::int64_t>(std::lround(share / greatest * height));
        if (tall > 0) row.narrow(0, height - tall, tall).narrow(1, b * bar, width).copy_(colour);
      };
      draw(usual[b].item<double>(), at::tensor({170, 170, 170}, at::kByte), bar);
      draw(odd[b].item<double>(), at::tensor({214, 96, 36}, at::kByte), bar / 2);
    }
  }
  return sheet;
}

}  // namespace igebm::scoring
