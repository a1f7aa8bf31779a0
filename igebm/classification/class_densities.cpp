#include "igebm/classification/class_densities.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/evaluation/records.h"

namespace igebm::classification {
namespace {

constexpr std::int64_t records_at_a_time = 2000;

at::Tensor records_of_class(const at::Tensor& x, const at::Tensor& labels, std::int64_t y) {
  const at::Tensor rows = labels.eq(y).nonzero().squeeze(1);
  if (rows.size(0) < 2) throw UserError(fmt::format("class {} has fewer than two records", y));
  return x.index_select(0, rows);
}

/// A Gaussian with directions of its own and one variance for all others; without such, all are its own.
struct Analyser {
  at::Tensor mean, directions, variances;              // (d), (d, q), (q) double
  double rest = 0, log_share = 0;                      // variance of the other d - q
  at::Tensor log_density(const at::Tensor& x) const {  // (n, d) float -> (n) double
    const at::Tensor centred = x - mean, along = at::matmul(centred, directions).to(at::kDouble).square();
    at::Tensor twice = at::matmul(along, variances.reciprocal()) + variances.log().sum();
    const auto others = static_cast<double>(mean.size(0) - variances.size(0));
    if (others > 0) {
      const at::Tensor left = centred.to(at::kDouble).square().sum(1) - along.sum(1);
      twice = twice + left.clamp_min(0) / rest + others * std::log(rest);
    }
    return log_share - twice / 2;
  }
};

/// The greatest eigenvalues of x^T x and their vectors, (count) and (d, count) double; of x (n, d) float. Where there
/// are far more, by subspace iteration from fixed numbers, whose last vectors are not exact: of a mixture that is a
/// baseline.
std::pair<at::Tensor, at::Tensor> leading(const at::Tensor& x, std::int64_t count) {
  constexpr std::int64_t beside = 12, rounds = 12;
  const std::int64_t size = x.size(1);
  if (8 * (count + beside) > size) {
    const auto [values, vectors] = at::linalg_eigh(at::matmul(x.t(), x).to(at::kDouble));  // ascending
    return {values.slice(0, size - count), vectors.slice(1, size - count)};
  }
  at::Tensor basis = at::empty({size, count + beside}, at::kFloat);
  random_normal({0, Purpose::data_order, 0, 0}, {basis.data_ptr<float>(), static_cast<std::size_t>(basis.numel())});
  for (std::int64_t round = 0; round < rounds; ++round)
    basis = std::get<0>(at::linalg_qr(at::matmul(x.t(), at::matmul(x, basis))));
  const at::Tensor seen = at::matmul(x, basis).to(at::kDouble);
  const auto [values, vectors] = at::linalg_eigh(at::matmul(seen.t(), seen));
  return {values.slice(0, beside), at::matmul(basis.to(at::kDouble), vectors.slice(1, beside))};
}

/// Of a mean and a covariance whose records have weights.
Analyser analyser(const at::Tensor& x, const at::Tensor& weights, std::int64_t dimensions, double ridge) {
  const double total = weights.sum().item<double>();
  Analyser a;
  const at::Tensor share = (weights / total).to(at::kFloat).unsqueeze(1);
  a.mean = (x * share).sum(0);
  const at::Tensor scaled = (x - a.mean) * share.sqrt();
  const std::int64_t size = x.size(1), own = std::min(dimensions, size);
  const auto [values, vectors] = leading(scaled, own);
  const double all = scaled.square().sum(at::kDouble).item<double>(), led = values.sum().item<double>();
  a.directions = vectors.to(at::kFloat).contiguous();
  a.rest = own < size ? std::max(all - led, 0.0) / static_cast<double>(size - own) + ridge : 0;
  a.variances = (values.clamp_min(0) + ridge).clamp_min(a.rest);
  return a;
}

class Mixtures : public ClassDensities {
 public:
  explicit Mixtures(std::vector<std::vector<Analyser>> classes) : classes_(std::move(classes)) {}
  at::Tensor of(const at::Tensor& x) const override {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> parts;
    for (const at::Tensor& part : x.split(records_at_a_time))
      parts.push_back(log_densities(evaluation::in_unit(part.flatten(1))));
    return at::cat(parts);
  }
  std::int64_t numbers() const override {
    std::int64_t sum = 0;
    for (const auto& parts : classes_)
      for (const auto& a : parts) sum += a.mean.numel() + a.directions.numel() + a.variances.numel() + 2;
    return sum;
  }

 private:
  /// Of elements in [0, 1]: (n, d) float -> (n, K) double.
  at::Tensor log_densities(const at::Tensor& x) const {
    std::vector<at::Tensor> all;
    for (const auto& parts : classes_) {
      std::vector<at::Tensor> each;
      for (const auto& a : parts) each.push_back(a.log_density(x));
      all.push_back(at::logsumexp(at::stack(each, 1), 1));
    }
    return at::stack(all, 1);
  }

  std::vector<std::vector<Analyser>> classes_;
};

/// Which of `parts` means each row is nearest to, after a few of Lloyd's rounds from rows taken at random.
at::Tensor nearest_means(const at::Tensor& x, std::int64_t parts, std::uint64_t seed, std::int64_t y) {
  at::Tensor order = at::empty({x.size(0)}, at::kFloat);
  random_uniform({seed, Purpose::data_order, static_cast<std::uint64_t>(y), 0},
                 {order.data_ptr<float>(), static_cast<std::size_t>(order.numel())});
  at::Tensor means = x.index_select(0, order.argsort().slice(0, 0, parts)), nearest;
  for (int round = 0; round < 8; ++round) {
    nearest = (means.square().sum(1) - 2 * at::matmul(x, means.t())).argmin(1);
    const at::Tensor one_hot = at::one_hot(nearest, parts).to(at::kFloat), sizes = one_hot.sum(0).unsqueeze(1);
    means = at::where(sizes > 0, at::matmul(one_hot.t(), x) / sizes.clamp_min(1), means);
  }
  return nearest;
}

std::vector<Analyser> fit_mixture(const at::Tensor& x, const AnalyserOptions& o, std::int64_t y) {
  const std::int64_t parts = std::min(o.parts, x.size(0) / 2);
  at::Tensor belongs = at::one_hot(nearest_means(x, parts, o.seed, y), parts).to(at::kDouble);
  std::vector<Analyser> mixture;
  for (std::int64_t round = 0; round < o.rounds; ++round) {
    mixture.clear();
    std::vector<at::Tensor> densities;
    for (const at::Tensor& weights : belongs.unbind(1)) {
      const double total = weights.sum().item<double>();
      if (total < 2) continue;  // nobody's: it is left out from now on
      mixture.push_back(analyser(x, weights, o.dimensions, o.floor));
      mixture.back().log_share = std::log(total / static_cast<double>(x.size(0)));
      densities.push_back(mixture.back().log_density(x));
    }
    belongs = at::softmax(at::stack(densities, 1), 1);
  }
  return mixture;
}

}  // namespace

std::unique_ptr<ClassDensities> gaussians(const at::Tensor& x, const at::Tensor& labels, std::int64_t classes,
                                          double ridge) {
  return analysers(x, labels, classes, {.parts = 1, .dimensions = x[0].numel(), .rounds = 1, .floor = ridge});
}

std::unique_ptr<ClassDensities> analysers(const at::Tensor& x, const at::Tensor& labels, std::int64_t classes,
                                          const AnalyserOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<Analyser>> all;
  for (std::int64_t y = 0; y < classes; ++y)
    all.push_back(fit_mixture(evaluation::in_unit(records_of_class(x, labels, y).flatten(1)), options, y));
  return std::make_unique<Mixtures>(std::move(all));
}

}  // namespace igebm::classification
