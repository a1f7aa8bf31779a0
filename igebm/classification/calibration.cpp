#include "igebm/classification/calibration.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "igebm/base/error.h"

namespace igebm::classification {
namespace {

/// The logits' derivatives by the parameters, (N, K, P): of weights in units of `spread` (L), then of biases.
at::Tensor design(const at::Tensor& energies, const at::Tensor& spread, bool offsets) {
  const std::int64_t count = energies.size(0), classes = energies.size(2);
  const at::Tensor by_weights = -(energies / spread.unsqueeze(1)).transpose(1, 2);
  if (!offsets) return by_weights;
  return at::cat({by_weights, at::eye(classes, at::kDouble).expand({count, classes, classes})}, 2);
}

}  // namespace

at::Tensor Calibration::logits(const at::Tensor& energies) const {
  at::Tensor sum = weights.defined() ? (energies * weights.unsqueeze(1)).sum(1) : energies.sum(1);
  return bias.defined() ? bias - sum : sum.neg();
}

Calibration calibrate(const at::Tensor& given, const at::Tensor& labels, bool offsets, double ridge) {
  if (given.dim() != 3 || given.size(0) != labels.size(0) || given.size(0) < 1)
    throw UserError(fmt::format("calibration: {} labels for {} inputs", labels.size(0), given.size(0)));
  const std::int64_t levels = given.size(1), classes = given.size(2);
  // What all classes share tells nothing, and is large beside their differences.
  const at::Tensor energies = given.to(at::kDouble) - given.to(at::kDouble).mean(2, /*keepdim=*/true);
  const at::Tensor spread = energies.square().mean(at::IntArrayRef{0, 2}).sqrt().clamp_min(1e-12);
  const at::Tensor x = design(energies, spread, offsets);
  const std::int64_t parameters = x.size(2);
  at::Tensor theta = at::zeros({parameters}, at::kDouble);
  theta.slice(0, 0, levels).fill_(1 / static_cast<double>(levels));
  const at::Tensor hot = at::one_hot(labels, classes).to(at::kDouble), prior = ridge * at::eye(parameters, at::kDouble);
  const auto loss = [&](const at::Tensor& at_theta) {
    return cross_entropies(at::matmul(x, at_theta), labels).sum().item<double>() +
           at_theta.dot(at_theta).item<double>() * ridge / 2;
  };
  double least = loss(theta);
  for (int step = 0; step < 100; ++step) {
    const at::Tensor p = at::softmax(at::matmul(x, theta), 1);
    const at::Tensor mean = at::bmm(p.unsqueeze(1), x).squeeze(1);  // (N, P)
    const at::Tensor gradient = at::einsum("nk,nkp->p", {p - hot, x}) + ridge * theta;
    const at::Tensor hessian = at::einsum("nk,nkp,nkq->pq", {p, x, x}) - at::matmul(mean.t(), mean) + prior;
    const at::Tensor move = at::linalg_solve(hessian, gradient);
    double share = 1, found = loss(theta - move);
    while (!(found <= least) && share > 1e-6) share /= 2, found = loss(theta - share * move);
    if (!(found <= least)) break;
    theta = theta - share * move;
    const bool done = least - found < 1e-10 * (1 + least);
    least = found;
    if (done) break;
  }
  Calibration fitted{.weights = theta.slice(0, 0, levels) / spread};
  if (offsets) fitted.bias = theta.slice(0, levels) - theta.slice(0, levels).mean();
  return fitted;
}

at::Tensor cross_entropies(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor z = logits.to(at::kDouble);
  // log(1 + sum of the others' odds): log-sum-exp less the logit would round small losses to 0.
  const at::Tensor odds = (z - z.gather(1, labels.unsqueeze(1))).scatter(1, labels.unsqueeze(1), -INFINITY);
  const at::Tensor greatest = odds.amax(1).clamp_min(0);
  const at::Tensor others = (odds - greatest.unsqueeze(1)).exp().sum(1);
  return at::where(greatest > 0, greatest + (others + (-greatest).exp()).log(), others.log1p());
}

double calibration_error(const at::Tensor& probabilities, const at::Tensor& labels, std::int64_t bins) {
  const auto [sure, told] = probabilities.to(at::kDouble).max(1);
  const at::Tensor gap = told.eq(labels).to(at::kDouble) - sure;
  const at::Tensor bin =
      (sure * static_cast<double>(bins)).floor().clamp(0, static_cast<double>(bins - 1)).to(at::kLong);
  const at::Tensor sums = at::zeros({bins}, at::kDouble).index_add(0, bin, gap);
  return sums.abs().sum().item<double>() / static_cast<double>(labels.size(0));
}

scoring::Interval fraction_right(std::int64_t right, std::int64_t count) {
  if (count < 1 || right < 0 || right > count) throw UserError(fmt::format("a fraction of {} among {}", right, count));
  return wilson(static_cast<double>(right) / static_cast<double>(count), count);
}

scoring::Interval wilson(double fraction, std::int64_t count) {
  constexpr double z = 1.959963984540054;
  const auto n = static_cast<double>(count);
  const double p = fraction, middle = (p + z * z / (2 * n)) / (1 + z * z / n),
               half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {p, std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

}  // namespace igebm::classification
