#include "igebm/scoring/separation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::scoring {
namespace {

/// Scores as places in the order of all, from the greatest; equal ones share a place.
struct Ranks {
  std::vector<std::size_t> usual, odd;
  std::size_t places = 0;
};

Ranks ranks_of(const at::Tensor& usual, const at::Tensor& odd) {
  const auto rows = [](const at::Tensor& scores, const char* which) {
    const at::Tensor all = scores.detach().cpu().to(at::kDouble).flatten().contiguous();
    if (all.numel() == 0) throw UserError(fmt::format("separation: no {} scores", which));
    if (all.isnan().any().item<bool>()) throw UserError(fmt::format("separation: {} scores hold NaN", which));
    return std::vector<double>(all.const_data_ptr<double>(), all.const_data_ptr<double>() + all.numel());
  };
  const std::vector<double> a = rows(usual, "usual"), b = rows(odd, "odd");
  std::vector<double> values = a;
  values.insert(values.end(), b.begin(), b.end());
  std::ranges::sort(values, std::greater<>());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  const auto places = [&](const std::vector<double>& scores) {
    std::vector<std::size_t> out;
    for (const double score : scores)
      out.push_back(
          static_cast<std::size_t>(std::ranges::lower_bound(values, score, std::greater<>()) - values.begin()));
    return out;
  };
  return {places(a), places(b), values.size()};
}

using Counts = std::vector<std::int64_t>;  // by place

/// AUROC, AUPR, FPR95 in a sweep from the greatest score down.
std::array<double, 3> figures(const Counts& usual, const Counts& odd, double usual_total, double odd_total) {
  double above_usual = 0, above_odd = 0, pairs = 0, precision = 0, fpr95 = -1;
  for (std::size_t i = 0; i < usual.size(); ++i) {
    const auto u = static_cast<double>(usual[i]), o = static_cast<double>(odd[i]);
    pairs += u * (above_odd + o / 2);
    above_usual += u, above_odd += o;
    if (o > 0) precision += o * above_odd / (above_odd + above_usual);
    if (fpr95 < 0 && above_odd / odd_total >= 0.95) fpr95 = above_usual / usual_total;
  }
  return {pairs / (usual_total * odd_total), precision / odd_total, fpr95};
}

Counts counted(const std::vector<std::size_t>& places, std::size_t total) {
  Counts counts(total);
  for (const std::size_t place : places) ++counts[place];
  return counts;
}

/// As many of them, drawn with replacement.
Counts resampled(const std::vector<std::size_t>& places, std::size_t total, const RandomPlace& place) {
  std::vector<std::uint32_t> bits(places.size());
  random_bits(place, bits);
  Counts counts(total);
  for (const std::uint32_t word : bits) ++counts[places[(std::uint64_t{word} * places.size()) >> 32U]];
  return counts;
}

}  // namespace

Interval quantiles(double value, std::vector<double> draws) {
  if (draws.empty()) return {value, value, value};
  std::ranges::sort(draws);
  const auto at = [&](double share) {
    return draws[static_cast<std::size_t>(share * static_cast<double>(draws.size() - 1) + 0.5)];
  };
  return {value, at(0.025), at(0.975)};
}

Separation separation(const at::Tensor& usual, const at::Tensor& odd, const BootstrapOptions& options) {
  const Ranks ranks = ranks_of(usual, odd);
  const auto usual_total = static_cast<double>(ranks.usual.size()), odd_total = static_cast<double>(ranks.odd.size());
  const std::array<double, 3> whole =
      figures(counted(ranks.usual, ranks.places), counted(ranks.odd, ranks.places), usual_total, odd_total);
  std::array<std::vector<double>, 3> draws;
  for (std::int64_t i = 0; i < options.draws; ++i) {
    const auto place = [&](std::uint32_t which) {
      return RandomPlace{options.seed, Purpose::evaluation, static_cast<std::uint64_t>(i), which};
    };
    const auto drawn = figures(resampled(ranks.usual, ranks.places, place(1)),
                               resampled(ranks.odd, ranks.places, place(2)), usual_total, odd_total);
    for (std::size_t k = 0; k < drawn.size(); ++k) draws[k].push_back(drawn[k]);
  }
  return {quantiles(whole[0], draws[0]), quantiles(whole[1], draws[1]), quantiles(whole[2], draws[2])};
}

}  // namespace igebm::scoring
