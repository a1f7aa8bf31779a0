#include "igebm/classification/discriminant.h"

#include <ATen/ATen.h>

#include <limits>

namespace igebm::classification {

Discriminant::Discriminant(std::int64_t features, std::int64_t classes)
    : sums_(at::zeros({classes, features}, at::kDouble)),
      products_(at::zeros({features, features}, at::kDouble)),
      counts_(at::zeros({classes}, at::kDouble)) {}

void Discriminant::add(const at::Tensor& f, const at::Tensor& labels) {
  const at::Tensor one_hot = at::one_hot(labels, counts_.size(0)).to(at::kFloat);
  sums_ += at::matmul(one_hot.t(), f), counts_ += one_hot.sum(0), products_ += at::matmul(f.t(), f);
  weights_.reset(), bias_.reset();
}

void Discriminant::solve() const {
  const at::Tensor means = sums_ / counts_.clamp_min(1).unsqueeze(1);
  at::Tensor within = (products_ - at::matmul(means.t(), sums_)) / counts_.sum();
  within.diagonal().add_(1e-3 * within.diagonal().mean());
  weights_ = at::linalg_solve(within, means.t().contiguous());
  bias_ = (means.t() * weights_).sum(0) / -2;
  bias_.masked_fill_(counts_.eq(0), -std::numeric_limits<double>::infinity());
}

at::Tensor Discriminant::log_densities(const at::Tensor& f) const {
  if (!weights_.defined()) solve();
  return at::matmul(f.to(at::kDouble), weights_) + bias_;
}

std::int64_t Discriminant::numbers() const {
  const std::int64_t features = sums_.size(1);
  return sums_.numel() + features * (features + 1) / 2;
}

}  // namespace igebm::classification
