#include "igebm/scoring/anomaly.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <limits>

#include "igebm/base/error.h"

namespace igebm::scoring {

Mahalanobis::Mahalanobis(const at::Tensor& figures) {
  constexpr double ridge = 1e-6;
  const at::Tensor z = figures.to(at::kDouble);
  const std::int64_t count = z.size(0), size = z.size(1);
  if (count < 2 * size)
    throw UserError(fmt::format("an anomaly score of {} figures is fitted on at least {} usual inputs, got {}", size,
                                2 * size, count));
  if (!z.isfinite().all().item<bool>())
    throw UserError("an anomaly score: usual inputs have figures that are not finite");
  mean_ = z.mean(0);
  const at::Tensor centred = z - mean_, scale = centred.square().mean(0).sqrt().clamp_min(1e-12),
                   alike = centred / scale;
  const at::Tensor correlation =
      at::matmul(alike.t(), alike) / static_cast<double>(count - 1) + ridge * at::eye(size, at::kDouble);
  const auto [values, vectors] = at::linalg_eigh(correlation);
  factor_ = vectors / values.clamp_min(ridge).sqrt() / scale.unsqueeze(1);
}

at::Tensor Mahalanobis::of(const at::Tensor& figures) const {
  const at::Tensor d = at::matmul(figures.to(at::kDouble) - mean_, factor_).square().sum(1);
  return at::where(d.isnan(), at::full({}, std::numeric_limits<double>::infinity(), at::kDouble), d);
}

namespace {

at::Tensor log_distance(const Mahalanobis& distance, const at::Tensor& figures) {
  return distance.of(figures).clamp_min(1e-12).log();
}

}  // namespace

Anomaly::Anomaly(const at::Tensor& figures, const at::Tensor& excess)
    : distance_(figures), numbers_(at::full({6}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)) {
  const auto keep = [&](std::int64_t at, const at::Tensor& of) {
    numbers_[at] = of.mean(), numbers_[at + 1] = of.std().clamp_min(1e-12);
  };
  keep(0, log_distance(distance_, figures));
  if (excess.defined()) keep(2, excess.to(at::kDouble));
  numbers_[4] = 0, numbers_[5] = 1;
}

void Anomaly::standardise(const at::Tensor& figures, const at::Tensor& excess) {
  numbers_[4] = 0, numbers_[5] = 1;
  const at::Tensor found = of(figures, excess);
  numbers_[4] = found.mean(), numbers_[5] = found.std().clamp_min(1e-12);
}

at::Tensor Anomaly::of(const at::Tensor& figures, const at::Tensor& excess) const {
  const at::Tensor unlike = (log_distance(distance_, figures) - numbers_[0]) / numbers_[1];
  const at::Tensor odder =
      excess.defined() ? at::fmax(unlike, (excess.to(at::kDouble) - numbers_[2]) / numbers_[3]) : unlike;
  return (odder - numbers_[4]) / numbers_[5];
}

at::Tensor p_values(const at::Tensor& scores, const at::Tensor& usual) {
  const at::Tensor sorted = std::get<0>(usual.to(at::kDouble).sort());
  const at::Tensor below = at::searchsorted(sorted, scores.to(at::kDouble).contiguous());  // strictly less
  const auto total = static_cast<double>(usual.size(0));
  return (total - below.to(at::kDouble) + 1) / (total + 1);
}

}  // namespace igebm::scoring
