#include "igebm/data/synthetic.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <numbers>

#include "igebm/base/error.h"
#include "igebm/base/random.h"

namespace igebm::data {
namespace {

using std::numbers::pi;

struct Point {
  double x, y;
  std::int64_t label;
};

using Uniforms = std::array<float, 4>;  // in (0, 1)

Point on_circle(double radius, double angle, std::int64_t label) {
  return {radius * std::cos(angle), radius * std::sin(angle), label};
}

Point two_moons(const Uniforms& u) {
  const double c = std::cos(pi * u[1]), s = std::sin(pi * u[1]);
  return u[0] < 0.5F ? Point{c - 0.5, s - 0.25, 0} : Point{0.5 - c, 0.25 - s, 1};
}

Point eight_gaussians(const Uniforms& u) {
  const auto k = static_cast<std::int64_t>(8 * u[0]);
  return on_circle(2, pi / 4 * static_cast<double>(k), k);
}

Point rings(const Uniforms& u) {
  const auto k = static_cast<std::int64_t>(3 * u[0]);
  return on_circle(0.7 * static_cast<double>(k + 1), 2 * pi * u[1], k);
}

Point checkerboard(const Uniforms& u) {
  const auto column = static_cast<std::int64_t>(4 * u[0]), half = static_cast<std::int64_t>(2 * u[1]);
  return {4 * static_cast<double>(u[0]) - 2, static_cast<double>(2 * half + column % 2) - 2 + u[2], 0};
}

Point swiss_roll(const Uniforms& u) {
  const double angle = 1.5 * pi * (1 + 2 * u[0]);
  return on_circle(angle / 7, angle, 0);
}

Point pinwheel(const Uniforms& u) {
  const auto k = static_cast<std::int64_t>(5 * u[0]);
  const double r = 0.4 + 1.6 * u[1];
  return on_circle(r, 0.4 * pi * static_cast<double>(k) + 0.6 * r + 0.25 * (u[2] + u[3] - 1), k);
}

struct Shape {
  const char* name;
  std::int64_t classes;             ///< 0: no labels
  bool sharp;                       ///< noise would blur what the set is for
  Point (*place)(const Uniforms&);  ///< before noise
};

constexpr Shape shapes[] = {
    {"two-moons", 2, false, two_moons},   {"eight-gaussians", 8, false, eight_gaussians},
    {"rings", 3, false, rings},           {"checkerboard", 0, true, checkerboard},
    {"swiss-roll", 0, false, swiss_roll}, {"pinwheel", 5, false, pinwheel},
};

const Shape& find(const std::string& name) {
  for (const Shape& shape : shapes) {
    if (name == shape.name) return shape;
  }
  throw UserError(fmt::format("unknown 2-D set \"{}\"", name));
}

}  // namespace

Dataset synthetic(const std::string& name, std::int64_t count, double noise, std::uint64_t seed, std::int64_t first) {
  const Shape& shape = find(name);
  Dataset set{at::empty({count, 2}), {}, shape.classes, {}};
  const at::Tensor labels = at::empty({count}, at::kLong);
  const double sigma = shape.sharp ? 0 : noise;
  for (std::int64_t i = 0; i < count; ++i) {
    Uniforms u{};
    std::array<float, 2> n{};
    const auto record = static_cast<std::uint64_t>(first + i);
    random_uniform({seed, Purpose::synthetic_data, record, 0}, u);
    random_normal({seed, Purpose::synthetic_data, record, 1}, n);
    const Point p = shape.place(u);
    set.x.data_ptr<float>()[2 * i] = static_cast<float>(p.x + sigma * n[0]);
    set.x.data_ptr<float>()[2 * i + 1] = static_cast<float>(p.y + sigma * n[1]);
    labels.data_ptr<std::int64_t>()[i] = p.label;
  }
  if (shape.classes > 0) set.labels = labels;
  return set;
}

}  // namespace igebm::data
