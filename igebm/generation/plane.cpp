#include "igebm/generation/plane.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/energy/analytic.h"

namespace igebm::generation {
namespace {

class Ring : public energy::Energy {
 public:
  Ring(double radius, double variance) : radius_(radius), variance_(variance) {}
  at::Tensor energy(const at::Tensor& x) const override {
    // Away from 0, where a norm has no slope.
    const at::Tensor r = (x.square().sum(1) + 1e-12).sqrt();
    return (r - radius_).square() / (2 * variance_) - at::log(at::special_i0e(r * (radius_ / variance_))) +
           std::log(2 * std::numbers::pi * variance_);
  }

 private:
  double radius_, variance_;
};

class Box : public energy::Energy {
 public:
  Box(const at::Tensor& low, const at::Tensor& high, double deviation)
      : low_(low), high_(high), deviation_(deviation) {}
  at::Tensor energy(const at::Tensor& x) const override {
    const at::Tensor low = low_.to(x.options()), high = high_.to(x.options());
    // By symmetry where both edges lie on one side: there Phi is near 0 and exact.
    const at::Tensor away = (x - (low + high) / 2).abs(), half = (high - low) / 2;
    const at::Tensor near = at::special_log_ndtr((half - away) / deviation_),
                     far = at::special_log_ndtr((-half - away) / deviation_);
    // log(e^near - e^far)
    return -(near + at::log1p(-at::exp((far - near).clamp_max(-1e-7))) - at::log(2 * half)).sum(1);
  }

 private:
  at::Tensor low_, high_;
  double deviation_;
};

void require(bool holds, const char* what) {
  if (!holds) throw UserError(what);
}

}  // namespace

energy::EnergyPtr blurred_gaussian(double mean_x, double mean_y, double deviation, double sigma) {
  require(deviation > 0, "gaussian: expected a deviation above 0");
  return std::make_shared<energy::GaussianMixture>(at::ones({1}, at::kDouble),
                                                   at::tensor({mean_x, mean_y}).unsqueeze(0),
                                                   at::full({1}, std::hypot(deviation, sigma), at::kDouble));
}

energy::EnergyPtr blurred_ring(double radius, double width, double sigma) {
  require(radius > 0 && width > 0, "ring: expected a radius and a width above 0");
  return std::make_shared<Ring>(radius, width * width + sigma * sigma);
}

energy::EnergyPtr blurred_box(double low_x, double low_y, double high_x, double high_y, double sigma) {
  require(low_x < high_x && low_y < high_y,
          "box: expected a left edge left of the right one, and a lower one below the upper");
  const double shorter = std::min(high_x - low_x, high_y - low_y);
  return std::make_shared<Box>(at::tensor({low_x, low_y}), at::tensor({high_x, high_y}),
                               std::max(sigma, 0.01 * shorter));
}

const std::vector<PlaneDensity>& plane_densities() {
  static const std::vector<PlaneDensity> all = {
      {"gaussian", "x, y, deviation", 3,
       [](const std::vector<double>& n) { return std::max(std::fabs(n[0]), std::fabs(n[1])) + 2 * n[2]; },
       [](const std::vector<double>& n) { return n[2]; },
       [](const std::vector<double>& n, double sigma) { return blurred_gaussian(n[0], n[1], n[2], sigma); }},
      {"ring", "radius, width", 2, [](const std::vector<double>& n) { return n[0] + 2 * n[1]; },
       [](const std::vector<double>& n) { return n[1]; },
       [](const std::vector<double>& n, double sigma) { return blurred_ring(n[0], n[1], sigma); }},
      {"box", "left, lower, right, upper", 4,
       [](const std::vector<double>& n) {
         return std::max({std::fabs(n[0]), std::fabs(n[1]), std::fabs(n[2]), std::fabs(n[3])});
       },
       [](const std::vector<double>& n) { return std::min(n[2] - n[0], n[3] - n[1]); },
       [](const std::vector<double>& n, double sigma) { return blurred_box(n[0], n[1], n[2], n[3], sigma); }},
  };
  return all;
}

}  // namespace igebm::generation
