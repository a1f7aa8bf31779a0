#include "igebm/evaluation/manifold.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "igebm/base/error.h"

namespace igebm::evaluation {
namespace {

constexpr std::int64_t rows_at_once = 1024;  // of distances to all others

void require_features(const at::Tensor& a, const at::Tensor& b, std::int64_t least) {
  for (const at::Tensor* t : {&a, &b}) {
    if (t->dim() != 2 || t->size(0) < least)
      throw UserError(fmt::format("nearest features: expected at least {} rows, got {}", least, t->size(0)));
    if (!t->isfinite().all().item<bool>()) throw UserError("nearest features: features that are not finite");
  }
  if (a.size(1) != b.size(1))
    throw UserError(fmt::format("nearest features: {} features against {}", a.size(1), b.size(1)));
}

/// Distances from some rows of x, from `begin` on, to all of `to`: take(begin, (n, M)).
void each_distances(const at::Tensor& x, const at::Tensor& to,
                    const std::function<void(std::int64_t, const at::Tensor&)>& take) {
  constexpr std::int64_t by_products = 1;
  const at::Tensor from = x.to(at::kDouble), all = to.to(at::kDouble);
  for (std::int64_t begin = 0; begin < x.size(0); begin += rows_at_once)
    take(begin, at::cdist(from.slice(0, begin, begin + rows_at_once), all, 2, by_products));
}

/// Distances of rows to themselves, which do not count.
void leave_out(const at::Tensor& distances, std::int64_t begin) {
  distances.diagonal(begin).fill_(std::numeric_limits<double>::infinity());
}

/// (N)
at::Tensor radii_of(const at::Tensor& x, std::int64_t k) {
  std::vector<at::Tensor> parts;
  each_distances(x, x, [&](std::int64_t begin, const at::Tensor& distances) {
    leave_out(distances, begin);
    parts.push_back(std::get<0>(distances.kthvalue(k, 1)));
  });
  return at::cat(parts);
}

/// For each row of x in how many balls it is: (N) double.
at::Tensor ball_counts(const at::Tensor& x, const at::Tensor& of, std::int64_t k) {
  require_features(x, of, k + 1);
  const at::Tensor radii = radii_of(of, k);
  std::vector<at::Tensor> parts;
  each_distances(x, of, [&](std::int64_t, const at::Tensor& distances) {
    parts.push_back(distances.le(radii).sum(1, false, at::kDouble));
  });
  return at::cat(parts);
}

}  // namespace

double within_balls(const at::Tensor& x, const at::Tensor& of, std::int64_t k) {
  return ball_counts(x, of, k).gt(0).to(at::kDouble).mean().item<double>();
}

double balls_around(const at::Tensor& x, const at::Tensor& of, std::int64_t k) {
  return ball_counts(x, of, k).mean().item<double>() / static_cast<double>(k);
}

double balls_held(const at::Tensor& x, const at::Tensor& of, std::int64_t k) {
  require_features(x, of, k + 1);
  std::vector<at::Tensor> nearest;
  each_distances(of, x, [&](std::int64_t, const at::Tensor& distances) { nearest.push_back(distances.amin(1)); });
  return at::cat(nearest).le(radii_of(of, k)).to(at::kDouble).mean().item<double>();
}

double nearest_is_own(const at::Tensor& a, const at::Tensor& b) {
  require_features(a, b, 2);
  const at::Tensor all = at::cat({a.to(at::kDouble), b.to(at::kDouble)});
  std::vector<at::Tensor> nearest;
  each_distances(all, all, [&](std::int64_t begin, const at::Tensor& distances) {
    leave_out(distances, begin);
    nearest.push_back(distances.argmin(1));
  });
  const at::Tensor first = at::arange(all.size(0)).lt(a.size(0));
  return first.eq(at::cat(nearest).lt(a.size(0))).to(at::kDouble).mean().item<double>();
}

}  // namespace igebm::evaluation
