#include "igebm/data/augment.h"

#include <algorithm>
#include <array>
#include <vector>

namespace igebm::data {
namespace {

std::array<float, 8> draw(const RandomPlace& place) {
  std::array<float, 8> u{};
  random_uniform(place, u);
  return u;
}

/// The pixel that `at` shows in a row of `length` continued by its own mirror image.
std::int64_t reflected(std::int64_t at, std::int64_t length) {
  if (length == 1) return 0;
  const std::int64_t period = 2 * (length - 1);
  at = ((at % period) + period) % period;
  return std::min(at, period - at);
}

}  // namespace

void random_crop(float* picture, const PictureShape& s, const Options& options, const RandomPlace& place) {
  const auto u = draw(place);
  const auto shift = [&](float uniform) {
    return static_cast<std::int64_t>(uniform * static_cast<float>(2 * options.crop + 1)) - options.crop;
  };
  const std::int64_t down = shift(u[2]), right = shift(u[3]);
  const bool reflect = options.crop_padding == "reflect";
  std::vector<float> whole(static_cast<std::size_t>(s.height * s.width));
  for (std::int64_t c = 0; c < s.channels; ++c) {
    float* plane = picture + c * s.height * s.width;
    std::copy(plane, plane + s.height * s.width, whole.begin());
    for (std::int64_t y = 0; y < s.height; ++y) {
      for (std::int64_t x = 0; x < s.width; ++x) {
        std::int64_t from_y = y + down, from_x = x + right;
        const bool inside = from_y >= 0 && from_y < s.height && from_x >= 0 && from_x < s.width;
        if (reflect) from_y = reflected(from_y, s.height), from_x = reflected(from_x, s.width);
        plane[y * s.width + x] = inside || reflect ? whole[static_cast<std::size_t>(from_y * s.width + from_x)] : 0.0F;
      }
    }
  }
}

void random_colour(float* picture, const PictureShape& s, float levels, const Options& options,
                   const RandomPlace& place) {
  const auto u = draw(place);
  const auto factor = [&](double most, float uniform) { return 1 + static_cast<float>(most) * (2 * uniform - 1); };
  const float brightness = factor(options.brightness, u[4]), contrast = factor(options.contrast, u[5]),
              saturation = factor(options.saturation, u[6]);
  const std::int64_t pixels = s.height * s.width;
  const auto grey = [&](std::int64_t i) {
    return s.channels == 3 ? 0.299F * picture[i] + 0.587F * picture[pixels + i] + 0.114F * picture[2 * pixels + i]
                           : picture[i];
  };
  double sum = 0;
  for (std::int64_t i = 0; i < pixels; ++i) sum += grey(i);
  const float mean = brightness * static_cast<float>(sum / static_cast<double>(pixels));
  for (std::int64_t i = 0; i < pixels; ++i) {
    const float g = mean + contrast * (brightness * grey(i) - mean);
    for (std::int64_t c = 0; c < s.channels; ++c) {
      float& value = picture[c * pixels + i];
      value = mean + contrast * (brightness * value - mean);
      if (s.channels == 3) value = g + saturation * (value - g);
      value = std::clamp(value, 0.0F, levels);
    }
  }
}

}  // namespace igebm::data
