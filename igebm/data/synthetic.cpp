#include "igebm/data/synthetic.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::data {
namespace {

struct Point {
  double x, y;
  std::int64_t label;
};

/// A point of the set from uniforms u in (0, 1), before noise.
Point place(const std::string& name, const std::array<float, 4>& u) {
  const double turn = 2 * std::numbers::pi;
  if (name == "two-moons") {
    const bool upper = u[0] < 0.5F;
    const double a = std::numbers::pi * u[1];
    return upper ? Point{std::cos(a) - 0.5, std::sin(a) - 0.25, 0} : Point{0.5 - std::cos(a), 0.25 - std::sin(a), 1};
  }
  if (name == "eight-gaussians") {
    const auto k = static_cast<std::int64_t>(8 * u[0]);
    return {2 * std::cos(turn * static_cast<double>(k) / 8), 2 * std::sin(turn * static_cast<double>(k) / 8), k};
  }
  if (name == "rings") {
    const auto k = static_cast<std::int64_t>(3 * u[0]);
    const double r = 0.7 * static_cast<double>(k + 1);
    return {r * std::cos(turn * u[1]), r * std::sin(turn * u[1]), k};
  }
  if (name == "checkerboard") {
    const auto column = static_cast<std::int64_t>(4 * u[0]), half = static_cast<std::int64_t>(2 * u[1]);
    return {4 * static_cast<double>(u[0]) - 2, static_cast<double>(2 * half + column % 2) - 2 + u[2], 0};
  }
  if (name == "swiss-roll") {
    const double a = 1.5 * std::numbers::pi * (1 + 2 * u[0]);
    return {a * std::cos(a) / 7, a * std::sin(a) / 7, 0};
  }
  const auto k = static_cast<std::int64_t>(5 * u[0]);  // pinwheel
  const double r = 0.4 + 1.6 * u[1], a = turn * static_cast<double>(k) / 5 + 0.6 * r + 0.25 * (u[2] + u[3] - 1);
  return {r * std::cos(a), r * std::sin(a), k};
}

std::int64_t class_count(const std::string& name) {
  if (name == "two-moons") return 2;
  if (name == "eight-gaussians") return 8;
  if (name == "rings") return 3;
  if (name == "pinwheel") return 5;
  return 0;
}

}  // namespace

Dataset synthetic(const std::string& name, std::int64_t count, double noise, std::uint64_t seed) {
  Dataset set{at::empty({count, 2}), at::empty({count}, at::kLong), class_count(name), {}};
  float* x = set.x.data_ptr<float>();
  std::int64_t* label = set.labels.data_ptr<std::int64_t>();
  // The checkerboard's squares have sharp edges.
  const double sigma = name == "checkerboard" ? 0 : noise;
  for (std::int64_t i = 0; i < count; ++i) {
    std::array<float, 4> u{};
    std::array<float, 2> n{};
    random_uniform({seed, Purpose::synthetic_data, static_cast<std::uint64_t>(i), 0}, u);
    random_normal({seed, Purpose::synthetic_data, static_cast<std::uint64_t>(i), 1}, n);
    const Point p = place(name, u);
    x[2 * i] = static_cast<float>(p.x + sigma * n[0]);
    x[2 * i + 1] = static_cast<float>(p.y + sigma * n[1]);
    label[i] = p.label;
  }
  if (set.classes == 0) set.labels = at::Tensor();
  return set;
}

}  // namespace igebm::data
