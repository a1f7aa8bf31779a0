#include "igebm/classification/oriented_energies.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <limits>

#include "igebm/base/error.h"
#include "igebm/evaluation/oriented_gradients.h"

namespace igebm::classification {
namespace {

constexpr std::int64_t featured_at_a_time = 2000;

at::Tensor features_of(const at::Tensor& x) {
  std::vector<at::Tensor> found;
  for (const at::Tensor& part : x.split(featured_at_a_time)) found.push_back(evaluation::oriented_gradients(part));
  return at::cat(found).to(at::kDouble);
}

}  // namespace

OrientedEnergies::OrientedEnergies(std::int64_t classes, const OrientedEnergyOptions& options)
    : options_(options), classes_(static_cast<std::size_t>(classes)) {}

void OrientedEnergies::learn(const at::Tensor& x, const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  for (std::size_t y = 0; y < classes_.size(); ++y) {
    const at::Tensor rows = labels.eq(static_cast<std::int64_t>(y)).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    if (rows.size(0) < 2) throw UserError(fmt::format("class {} has fewer than two records", y));
    if (classes_[y].mean.defined()) throw UserError(fmt::format("class {} was learned before", y));
    const at::Tensor f = features_of(x.index_select(0, rows)), mean = f.mean(0), centred = f - mean;
    classes_[y] = {mean, at::matmul(centred.t(), centred) / f.size(0)};
  }
}

at::Tensor OrientedEnergies::log_densities(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  at::Tensor sum;
  std::int64_t learned = 0;
  for (const Moments& c : classes_) {
    if (!c.mean.defined()) continue;
    sum = learned++ == 0 ? c.covariance.clone() : sum.add_(c.covariance);
  }
  const at::Tensor f = features_of(x);
  const auto count = static_cast<std::int64_t>(classes_.size());
  at::Tensor all = at::full({f.size(0), count}, -std::numeric_limits<double>::infinity(), at::kDouble);
  for (std::int64_t y = 0; y < count; ++y) {
    const Moments& c = classes_[static_cast<std::size_t>(y)];
    if (!c.mean.defined()) continue;
    at::Tensor covariance = (1 - options_.shared) * c.covariance + options_.shared / static_cast<double>(learned) * sum;
    covariance.diagonal().add_(options_.ridge * covariance.diagonal().mean());
    const at::Tensor lower = at::linalg_cholesky(covariance);
    const at::Tensor z = at::linalg_solve_triangular(lower, (f - c.mean).t(), /*upper=*/false);
    all.select(1, y).copy_(-z.square().sum(0) / 2 - lower.diagonal().log().sum());
  }
  return all;
}

std::int64_t OrientedEnergies::numbers() const {
  std::int64_t sum = 0;
  for (const Moments& c : classes_)
    if (c.mean.defined()) sum += c.mean.numel() + c.covariance.numel();
  return sum;
}

}  // namespace igebm::classification
