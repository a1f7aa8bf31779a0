#include "igebm/io/plot.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <stb_easy_font.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "igebm/base/error.h"

namespace igebm::io {
namespace {

using Colour = std::array<std::uint8_t, 3>;
constexpr Colour ink = {60, 60, 60}, faint = {225, 225, 225};

class Canvas {
 public:
  Canvas(std::int64_t width, std::int64_t height) : picture(at::full({height, width, 3}, 255, at::kByte)) {}

  at::Tensor picture;

  void dot(std::int64_t x, std::int64_t y, const Colour& colour) {
    if (x < 0 || y < 0 || x >= picture.size(1) || y >= picture.size(0)) return;
    std::uint8_t* at = picture.data_ptr<std::uint8_t>() + (y * picture.size(1) + x) * 3;
    std::copy(colour.begin(), colour.end(), at);
  }

  void box(std::int64_t x, std::int64_t y, std::int64_t w, std::int64_t h, const Colour& colour) {
    for (std::int64_t i = 0; i < h; ++i) {
      for (std::int64_t j = 0; j < w; ++j) dot(x + j, y + i, colour);
    }
  }

  void line(double x0, double y0, double x1, double y1, const Colour& colour) {
    const double length = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1.0});
    for (double t = 0; t <= length; ++t)
      dot(std::lround(x0 + (x1 - x0) * t / length), std::lround(y0 + (y1 - y0) * t / length), colour);
  }

  /// With its upper left corner there.
  void write(std::int64_t x, std::int64_t y, std::string text, const Colour& colour = ink) {
    struct Vertex {
      float x, y, z;
      std::uint8_t colour[4];
    };
    std::vector<Vertex> corners(4 * 24 * (text.size() + 1));
    const int quads = stb_easy_font_print(0, 0, text.data(), nullptr, corners.data(),
                                          static_cast<int>(corners.size() * sizeof(Vertex)));
    for (int q = 0; q < quads; ++q) {
      const Vertex &from = corners[static_cast<std::size_t>(4 * q)], &to = corners[static_cast<std::size_t>(4 * q + 2)];
      const auto left = static_cast<std::int64_t>(from.x), top = static_cast<std::int64_t>(from.y);
      box(x + left, y + top, static_cast<std::int64_t>(to.x) - left, static_cast<std::int64_t>(to.y) - top, colour);
    }
  }
};

std::int64_t width_of(std::string text) { return stb_easy_font_width(text.data()); }

/// The least and greatest of what is drawn.
struct Extent {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  void take(double value) { low = std::min(low, value), high = std::max(high, value); }
  void widen() {
    if (!(low <= high)) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
  }
  double way(double value) const { return (value - low) / (high - low); }

  /// Round numbers, `about` so many.
  std::vector<double> ticks(int about) const {
    const double raw = (high - low) / about, ten = std::pow(10, std::floor(std::log10(raw)));
    const double step = raw / ten < 1.5 ? ten : raw / ten < 3.5 ? 2 * ten : raw / ten < 7.5 ? 5 * ten : 10 * ten;
    std::vector<double> all;
    for (double t = std::ceil(low / step) * step; t <= high + 1e-9 * step; t += step)
      all.push_back(std::abs(t) < 1e-9 * step ? 0 : t);
    return all;
  }
};

}  // namespace

at::Tensor draw_text(const std::string& text, std::int64_t width) {
  Canvas canvas(width, 20);
  canvas.write(8, 6, text);
  return canvas.picture;
}

at::Tensor draw(const Plot& plot, std::int64_t width, std::int64_t height) {
  if (width < 200 || height < 120) throw UserError("plot: expected at least 200 by 120 pixels");
  const auto value = [&](double y) { return plot.logarithmic ? std::log10(y) : y; };
  const auto drawn = [&](double y) { return std::isfinite(y) && (!plot.logarithmic || y > 0); };
  Extent across, up;
  for (const Curve& curve : plot.curves) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (drawn(curve.y[i])) across.take(curve.x[i]), up.take(value(curve.y[i]));
    }
  }
  across.widen(), up.widen();
  constexpr std::int64_t left = 58, right = 12, top = 26, bottom = 34;
  const std::int64_t w = width - left - right, h = height - top - bottom;
  const auto place = [&](double x, double y) {
    return std::array{left + across.way(x) * static_cast<double>(w), top + (1 - up.way(y)) * static_cast<double>(h)};
  };
  Canvas canvas(width, height);
  canvas.write(left, 8, plot.title);
  for (const double tick : up.ticks(static_cast<int>(h / 30))) {
    const auto y = std::lround(place(across.low, tick)[1]);
    const std::string text = fmt::format("{:.4g}", plot.logarithmic ? std::pow(10, tick) : tick);
    canvas.box(left, y, w, 1, faint), canvas.write(left - 5 - width_of(text), y - 3, text);
  }
  for (const double tick : across.ticks(static_cast<int>(w / 60))) {
    const auto x = std::lround(place(tick, up.low)[0]);
    const std::string text = fmt::format("{:.4g}", tick);
    canvas.box(x, top, 1, h, faint), canvas.write(x - width_of(text) / 2, top + h + 5, text);
  }
  canvas.write(left + w - width_of(plot.x_label), top + h + 18, plot.x_label);
  canvas.box(left, top, 1, h, ink), canvas.box(left, top + h, w, 1, ink);
  for (const Curve& curve : plot.curves) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (!drawn(curve.y[i])) continue;
      const auto to = place(curve.x[i], value(curve.y[i]));
      const bool joined = i > 0 && drawn(curve.y[i - 1]);
      const auto from = joined ? place(curve.x[i - 1], value(curve.y[i - 1])) : to;
      canvas.line(from[0], from[1], to[0], to[1], curve.colour);
    }
  }
  return canvas.picture;
}

}  // namespace igebm::io
