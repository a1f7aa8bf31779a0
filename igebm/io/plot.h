#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// Curves as pictures, uint8 (H, W, 3).
namespace igebm::io {

struct Curve {
  std::vector<double> x, y;  ///< as many of each; points that are not finite are left out
  std::array<std::uint8_t, 3> colour = {0, 0, 0};
};

struct Plot {
  std::string title, x_label;
  bool logarithmic = false;  ///< in y; values up to 0 are then left out
  std::vector<Curve> curves;
};

/// Title above, numbers at both axes, `width` by `height` pixels; at least 200 by 120.
at::Tensor draw(const Plot& plot, std::int64_t width, std::int64_t height);

/// A line of ASCII in grey, `width` pixels wide and 20 high.
at::Tensor draw_text(const std::string& text, std::int64_t width);

}  // namespace igebm::io
