#include "igebm/energy/analytic.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/base/random.h"
#include "igebm/energy/analytic_loops.h"

namespace igebm::energy {
namespace {

constexpr double log_two_pi = 1.8378770664093454836;

void require(bool good, const char* what) {
  if (!good) throw UserError(what);
}

void require_points(const at::Tensor& x, std::int64_t dimensions, const char* who) {
  if (x.dim() != 2 || x.size(1) != dimensions || !at::isFloatingType(x.scalar_type())) {
    throw UserError(fmt::format("{}: expected floating-point x of shape (N, {}), got ({}) of {}", who, dimensions,
                                fmt::join(x.sizes(), ", "), at::toString(x.scalar_type())));
  }
}

/// The Cholesky factors of (..., D, D), double.
at::Tensor factorise(const at::Tensor& covariance, const char* who) {
  const at::Tensor c = covariance.to(at::kDouble);
  if (!at::allclose(c, c.mT())) throw UserError(fmt::format("{}: the covariance is not symmetric", who));
  const auto [factor, info] = at::linalg_cholesky_ex(c);
  if (info.any().item<bool>()) throw UserError(fmt::format("{}: the covariance is not positive definite", who));
  return factor;
}

std::vector<float> floats(const at::Tensor& t) {
  const at::Tensor f = t.to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}

/// Standard normals, double (count, dimensions): row i from (seed, i).
at::Tensor standard_normals(std::int64_t count, std::int64_t dimensions, std::uint64_t seed) {
  const at::Tensor n = at::empty({count, dimensions}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i) {
    random_normal({seed, Purpose::exact_sample, static_cast<std::uint64_t>(i), 0},
                  {n.data_ptr<float>() + i * dimensions, static_cast<std::size_t>(dimensions)});
  }
  return n.to(at::kDouble);
}

}  // namespace

Gaussian::Gaussian(const at::Tensor& mean, const at::Tensor& covariance) : mean_(mean.to(at::kDouble)) {
  require(mean.dim() == 1 && covariance.dim() == 2 && covariance.size(0) == mean.size(0) &&
              covariance.size(1) == mean.size(0),
          "Gaussian: expected a mean (D) and a covariance (D, D)");
  factor_ = factorise(covariance, "Gaussian");
  precision_ = at::cholesky_inverse(factor_);
  log_z_ = 0.5 * static_cast<double>(mean.size(0)) * log_two_pi + factor_.diagonal().log().sum().item<double>();
  constants_ = floats(at::cat({mean_, precision_.flatten()}));
}

void Gaussian::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                        float* gradient) const {
  loops::gaussian(constants_.data(), constants_.data() + elements, elements, x, count, energy, gradient);
}

at::Tensor Gaussian::energy(const at::Tensor& x) const {
  require_points(x, mean_.size(0), "Gaussian");
  const at::Tensor d = x - mean_.to(x.options());
  return 0.5 * (at::matmul(d, precision_.to(x.options())) * d).sum(1);
}

EnergyAndGradient Gaussian::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  require_points(x, mean_.size(0), "Gaussian");
  const at::Tensor d = x - mean_.to(x.options()), gradient = at::matmul(d, precision_.to(x.options()));
  return {0.5 * (gradient * d).sum(1), gradient};
}

at::Tensor Gaussian::sample(std::int64_t count, std::uint64_t seed) const {
  return mean_ + at::matmul(standard_normals(count, mean_.size(0), seed), factor_.t());
}

GaussianMixture::GaussianMixture(const at::Tensor& weights, const at::Tensor& means, const at::Tensor& spreads)
    : means_(means.to(at::kDouble)), isotropic_(spreads.dim() == 1) {
  require(means.dim() == 2 && weights.dim() == 1 && weights.size(0) == means.size(0) &&
              (spreads.sizes() == weights.sizes() ||
               spreads.sizes() == at::IntArrayRef({means.size(0), means.size(1), means.size(1)})),
          "GaussianMixture: expected weights (K), means (K, D), and deviations (K) or covariances (K, D, D)");
  require(weights.gt(0).all().item<bool>(), "GaussianMixture: weights must be positive");
  const std::int64_t d = means.size(1);
  if (isotropic_) {
    require(spreads.gt(0).all().item<bool>(), "GaussianMixture: deviations must be positive");
    factors_ = at::eye(d, at::kDouble) * spreads.to(at::kDouble).view({-1, 1, 1});
  } else {
    factors_ = factorise(spreads, "GaussianMixture");
  }
  inverses_ = at::linalg_inv(factors_);
  weights_ = weights.to(at::kDouble) / weights.to(at::kDouble).sum();
  heights_ = weights_.log() - factors_.diagonal(0, 1, 2).log().sum(1) - 0.5 * static_cast<double>(d) * log_two_pi;
  if (isotropic_ && d == 2) {
    const at::Tensor precision = inverses_.select(2, 0).select(1, 0).square();
    constants_ = floats(at::cat({heights_.unsqueeze(1), precision.unsqueeze(1), means_}, 1));
  }
}

void GaussianMixture::evaluate(const float* x, std::int64_t count, std::int64_t /*elements*/, float* energy,
                               float* gradient) const {
  loops::round_mixture(constants_.data(), weights_.size(0), x, count, energy, gradient);
}

at::Tensor GaussianMixture::whitened(const at::Tensor& x) const {
  require_points(x, means_.size(1), "GaussianMixture");
  const at::Tensor d = x.unsqueeze(1) - means_.to(x.options());
  if (isotropic_) return d * inverses_.select(2, 0).select(1, 0).to(x.options()).unsqueeze(1);
  return at::einsum("nkd,ked->nke", {d, inverses_.to(x.options())});
}

at::Tensor GaussianMixture::energy(const at::Tensor& x) const {
  return -at::logsumexp(heights_.to(x.options()) - 0.5 * whitened(x).square().sum(2), 1);
}

// The gradient is the components' gradients, weighted by their responsibilities. Round components need no (N, K, D).
EnergyAndGradient GaussianMixture::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const auto finish = [&](const at::Tensor& square) {
    const at::Tensor terms = heights_.to(x.options()) - 0.5 * square, energy = -at::logsumexp(terms, 1);
    return std::pair{energy, (terms + energy.unsqueeze(1)).exp_()};
  };
  if (isotropic_) {
    require_points(x, means_.size(1), "GaussianMixture");
    const at::Tensor means = means_.to(x.options());
    const at::Tensor precision = inverses_.select(2, 0).select(1, 0).square().to(x.options());
    // Mode 2: differences, not the expansion by inner products, which loses digits far from the origin.
    const auto [energy, responsibility] = finish(at::cdist(x, means, 2, /*compute_mode=*/2).square_() * precision);
    const at::Tensor pull = responsibility * precision;
    return {energy, pull.sum(1, true) * x - at::matmul(pull, means)};
  }
  const at::Tensor white = whitened(x);
  const auto [energy, responsibility] = finish(white.square().sum(2));
  return {energy, at::einsum("nk,nke,ked->nd", {responsibility, white, inverses_.to(x.options())})};
}

at::Tensor GaussianMixture::sample(std::int64_t count, std::uint64_t seed) const {
  const at::Tensor bounds = weights_.cumsum(0), component = at::empty({count}, at::kLong);
  const auto* bound = bounds.const_data_ptr<double>();
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = random_uniform({seed, Purpose::exact_sample, static_cast<std::uint64_t>(i), 1});
    std::int64_t k = 0;
    while (k + 1 < bounds.size(0) && u >= bound[k]) ++k;
    component.data_ptr<std::int64_t>()[i] = k;
  }
  const at::Tensor n = standard_normals(count, means_.size(1), seed).unsqueeze(2);
  return means_.index_select(0, component) + at::bmm(factors_.index_select(0, component), n).squeeze(2);
}

DoubleWell::DoubleWell(std::int64_t dimensions, double height) : dimensions_(dimensions), height_(height) {
  require(dimensions >= 1 && height > 0, "DoubleWell: expected at least one dimension and a positive height");
}

at::Tensor DoubleWell::energy(const at::Tensor& x) const {
  require_points(x, dimensions_, "DoubleWell");
  return height_ * (x.square() - 1).square().sum(1);
}

EnergyAndGradient DoubleWell::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  require_points(x, dimensions_, "DoubleWell");
  const at::Tensor w = x.square() - 1;
  return {height_ * w.square().sum(1), 4 * height_ * x * w};
}

void DoubleWell::evaluate(const float* x, std::int64_t count, std::int64_t elements, float* energy,
                          float* gradient) const {
  loops::double_well(static_cast<float>(height_), elements, x, count, energy, gradient);
}

// By the trapezoidal rule, which converges faster than any power as the integrand is smooth and exp(-40) at both ends:
// at most 20 deviations of a well's bottom in 4,000 steps, however narrow it is. x = 1 + d, so that x^2 - 1 loses no
// digits near 1. A barrier of 40 and more parts the wells, which are alike.
double DoubleWell::log_z() const {
  const double half = std::sqrt(40 / height_), right = half / (std::sqrt(1 + half) + 1);
  const bool apart = half <= 1;
  const double left = apart ? -half / (1 + std::sqrt(1 - half)) : -2 - right;
  constexpr int steps = 4000;
  double sum = 0;
  for (int i = 0; i <= steps; ++i) {
    const double d = left + (right - left) * i / steps, w = d * (2 + d);
    sum += std::exp(-height_ * w * w);
  }
  return static_cast<double>(dimensions_) * std::log((apart ? 2 : 1) * sum * (right - left) / steps);
}

Rings::Rings(std::vector<double> radii, double width) : radii_(std::move(radii)), width_(width) {
  require(!radii_.empty() && width > 0, "Rings: expected radii and a positive width");
}

at::Tensor Rings::energy(const at::Tensor& x) const {
  require_points(x, 2, "Rings");
  const at::Tensor radius = (x.square().sum(1) + 1e-12).sqrt().unsqueeze(1);  // differentiable at the origin too
  return -at::logsumexp((radius - at::tensor(radii_, x.options())).square() * (-0.5 / (width_ * width_)), 1);
}

void Rings::evaluate(const float* x, std::int64_t count, std::int64_t /*elements*/, float* energy,
                     float* gradient) const {
  const std::vector<float> radii(radii_.begin(), radii_.end());
  loops::rings(radii.data(), static_cast<std::int64_t>(radii.size()), static_cast<float>(1 / (width_ * width_)), x,
               count, energy, gradient);
}

// Z = sum_k 2 pi integral_0^inf r exp(-(r - r_k)^2 / 2 w^2) dr.
double Rings::log_z() const {
  double sum = 0;
  for (const double r : radii_) {
    const double t = r / width_;
    sum += width_ * width_ * std::exp(-0.5 * t * t) +
           r * width_ * std::sqrt(std::numbers::pi / 2) * std::erfc(-t / std::numbers::sqrt2);
  }
  return std::log(2 * std::numbers::pi * sum);
}

Banana::Banana(double a, double b) : a_(a), b_(b) { require(a > 0, "Banana: expected a positive a"); }

at::Tensor Banana::energy(const at::Tensor& x) const {
  require_points(x, 2, "Banana");
  const at::Tensor first = x.select(1, 0), second = x.select(1, 1);
  return first.square() / (2 * a_ * a_) + 0.5 * (second - b_ * (first.square() - a_ * a_)).square();
}

EnergyAndGradient Banana::energy_and_gradient(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  require_points(x, 2, "Banana");
  const at::Tensor first = x.select(1, 0), second = x.select(1, 1);
  const at::Tensor sheared = second - b_ * (first.square() - a_ * a_);
  return {first.square() / (2 * a_ * a_) + 0.5 * sheared.square(),
          at::stack({first / (a_ * a_) - 2 * b_ * first * sheared, sheared}, 1)};
}

void Banana::evaluate(const float* x, std::int64_t count, std::int64_t /*elements*/, float* energy,
                      float* gradient) const {
  loops::banana(static_cast<float>(a_), static_cast<float>(b_), x, count, energy, gradient);
}

double Banana::log_z() const { return log_two_pi + std::log(a_); }

at::Tensor Banana::sample(std::int64_t count, std::uint64_t seed) const {
  const at::Tensor n = standard_normals(count, 2, seed), first = a_ * n.select(1, 0);
  return at::stack({first, n.select(1, 1) + b_ * (first.square() - a_ * a_)}, 1);
}

}  // namespace igebm::energy
