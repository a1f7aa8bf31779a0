#include "igebm/evaluation/formulas.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::evaluation {
namespace {

void check(const at::Tensor& features, const char* what) {
  if (features.dim() != 2 || features.size(0) < 2)
    throw UserError(fmt::format("{}: expected at least 2 rows of features, got {}", what, features.size(0)));
  if (!features.isfinite().all().item<bool>()) throw UserError(fmt::format("{}: features that are not finite", what));
}

void same_width(std::int64_t a, std::int64_t b, const char* what) {
  if (a != b) throw UserError(fmt::format("{}: {} features against {}", what, a, b));
}

/// R with R R' = covariance, one column for each direction in which the features vary. Eigenvalues that are rounding
/// noise are left out: their roots would not be small.
at::Tensor root(const at::Tensor& covariance) {
  const auto [values, vectors] = at::linalg_eigh(covariance);
  const double noise = static_cast<double>(covariance.size(0)) * std::numeric_limits<double>::epsilon() *
                       std::max(values.max().item<double>(), 0.0);
  const at::Tensor kept = values.gt(noise).nonzero().squeeze(1);
  return vectors.index_select(1, kept) * values.index_select(0, kept).sqrt();
}

Estimate estimate(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / count)};
}

/// k(x, y) = (x.y / D + 1)^3 of all pairs of rows.
at::Tensor kernel(const at::Tensor& x, const at::Tensor& y) {
  return at::matmul(x, y.t()).div_(static_cast<double>(x.size(1))).add_(1).pow_(3);
}

double discrepancy(const at::Tensor& a, const at::Tensor& b) {
  const auto within = [](const at::Tensor& x) {
    const at::Tensor k = kernel(x, x);
    const auto n = static_cast<double>(x.size(0));
    return (k.sum() - k.trace()).item<double>() / (n * (n - 1));
  };
  return within(a) + within(b) - 2 * kernel(a, b).mean().item<double>();
}

}  // namespace

Moments moments(const at::Tensor& features) {
  check(features, "moments");
  const at::Tensor mean = features.mean(0, /*keepdim=*/false, at::kDouble);
  at::Tensor sum = at::zeros({features.size(1), features.size(1)}, at::kDouble);
  for (const at::Tensor& part : features.split(4096)) {  // all at once, 50,000 x 2,048 would take gigabytes
    const at::Tensor centred = part.to(at::kDouble) - mean;
    sum.addmm_(centred.t(), centred);
  }
  return {mean, sum / static_cast<double>(features.size(0) - 1)};
}

double frechet_distance(const Moments& a, const Moments& b) {
  same_width(a.mean.size(0), b.mean.size(0), "Frechet distance");
  const double shift = (a.mean - b.mean).square().sum().item<double>();
  // The eigenvalues of A B are the squares of the singular values of R_a' R_b: no square root of rounding noise.
  const at::Tensor product = at::matmul(root(a.covariance).t(), root(b.covariance));
  const double cross = product.numel() > 0 ? at::linalg_svdvals(product).sum().item<double>() : 0;
  return shift + (a.covariance.trace() + b.covariance.trace()).item<double>() - 2 * cross;
}

double kernel_distance(const at::Tensor& a, const at::Tensor& b) {
  check(a, "kernel distance"), check(b, "kernel distance");
  same_width(a.size(1), b.size(1), "kernel distance");
  return discrepancy(a.to(at::kDouble), b.to(at::kDouble));
}

Estimate kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelDistanceOptions& options) {
  check(a, "kernel distance"), check(b, "kernel distance");
  same_width(a.size(1), b.size(1), "kernel distance");
  const std::int64_t size = options.subset_size;
  if (options.subsets < 1 || size < 2 || size > a.size(0) || size > b.size(0)) {
    throw UserError(fmt::format("kernel distance: {} subsets of {} from {} and {} features", options.subsets, size,
                                a.size(0), b.size(0)));
  }
  std::vector<double> values;
  for (std::int64_t i = 0; i < options.subsets; ++i) {
    const auto stream = static_cast<std::uint64_t>(2 * i);
    const at::Tensor x = a.index_select(0, choose(a.size(0), size, options.seed, stream)),
                     y = b.index_select(0, choose(b.size(0), size, options.seed, stream + 1));
    values.push_back(discrepancy(x.to(at::kDouble), y.to(at::kDouble)));
  }
  return estimate(values);
}

Estimate inception_score(const at::Tensor& probabilities, std::int64_t splits) {
  check(probabilities, "Inception score");
  const at::Tensor p = probabilities.to(at::kDouble);
  const std::int64_t n = p.size(0);
  if (splits < 1 || n < splits)
    throw UserError(fmt::format("Inception score: {} samples in {} parts; expected at least one each", n, splits));
  std::vector<double> values;
  for (std::int64_t i = 0; i < splits; ++i) {
    const at::Tensor part = p.slice(0, i * n / splits, (i + 1) * n / splits), all = part.mean(0, /*keepdim=*/true);
    // 0 log 0 = 0.
    values.push_back(std::exp((at::xlogy(part, part) - at::xlogy(part, all)).sum(1).mean().item<double>()));
  }
  return estimate(values);
}

double label_accuracy(const at::Tensor& probabilities, const at::Tensor& labels) {
  return probabilities.argmax(1).eq(labels).to(at::kDouble).mean().item<double>();
}

at::Tensor nearest_rows(const at::Tensor& x, const at::Tensor& among) {
  const auto rows = [](const at::Tensor& t) {
    const at::Tensor flat = t.flatten(1).to(at::kDouble);
    return t.scalar_type() == at::kByte ? flat / 255 : flat;
  };
  const at::Tensor a = rows(x);
  if (a.size(1) != among[0].numel())
    throw UserError(
        fmt::format("nearest rows: {} numbers, and {} in what they are compared with", a.size(1), among[0].numel()));
  // |a - b|^2 but for |a|^2, which is the same for all b; a part at a time, as there may be many of both. In double, or
  // near duplicates would be told apart by rounding.
  at::Tensor least, where;
  constexpr std::int64_t part = 4096;
  for (std::int64_t begin = 0; begin < among.size(0); begin += part) {
    const at::Tensor b = rows(among.slice(0, begin, begin + part));
    const auto [value, index] = (b.square().sum(1) - 2 * at::matmul(a, b.t())).min(1);
    if (!least.defined()) {
      least = value, where = index;
    } else {
      where = at::where(value.lt(least), index + begin, where);
      least = at::minimum(least, value);
    }
  }
  return where;
}

double mean_distance(const at::Tensor& x) {
  const at::Tensor flat = x.flatten(1).to(at::kDouble);
  const double unit = x.scalar_type() == at::kByte ? 255 : 1;
  return at::pdist(flat).mean().item<double>() / unit;
}

RankTest rank_test(const at::Tensor& less, const at::Tensor& greater) {
  std::vector<std::pair<double, bool>> all;  // numbers, and whether they are of `less`
  for (const bool first : {true, false}) {
    const at::Tensor x = (first ? less : greater).flatten().to(at::kDouble).contiguous();
    if (x.numel() == 0 || !x.isfinite().all().item<bool>())
      throw UserError("rank test: expected finite numbers, at least one on either side");
    for (const double* v = x.const_data_ptr<double>(); v != x.const_data_ptr<double>() + x.size(0); ++v)
      all.emplace_back(*v, first);
  }
  std::ranges::sort(all);
  // U = pairs in which the one of `less` is less, ties half: each of `less` beats the greater ones that come after it.
  double u = 0, ties = 0, after = static_cast<double>(greater.numel());
  for (auto at = all.begin(); at != all.end();) {
    const auto end = std::find_if(at, all.end(), [&](const auto& other) { return other.first != at->first; });
    const auto equal = static_cast<double>(end - at),
               ours = static_cast<double>(std::count_if(at, end, [](const auto&one) { return one.second; }));
    u += ours * (after - (equal - ours) / 2);
    after -= equal - ours;
    ties += equal * equal * equal - equal;
    at = end;
  }
  const auto n = static_cast<double>(less.numel()), m = static_cast<double>(greater.numel()), total = n + m;
  const double variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)));
  // All equal: the quotient is minus infinity, and p is 1.
  const double z = (u - n * m / 2 - 0.5) / std::sqrt(std::max(variance, 0.0));
  return {u / (n * m), std::erfc(z / std::sqrt(2.0)) / 2};
}

at::Tensor choose(std::int64_t total, std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(total));
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::uint32_t> words(static_cast<std::size_t>(count));
  random_bits({seed, Purpose::evaluation, stream, 0}, words);
  for (std::int64_t i = 0; i < count; ++i) {  // the first steps of Fisher and Yates' shuffle
    const auto left = static_cast<std::uint64_t>(total - i);
    const auto j = static_cast<std::int64_t>((words[static_cast<std::size_t>(i)] * left) >> 32);
    std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(i + j)]);
  }
  all.resize(static_cast<std::size_t>(count));
  return at::tensor(all, at::kLong);
}

}  // namespace igebm::evaluation
