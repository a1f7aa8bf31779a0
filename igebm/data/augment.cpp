#include "igebm/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace igebm::data {
namespace {

std::array<float, 16> draw(const RandomPlace& place) {
  std::array<float, 16> u{};
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
  const bool reflect = options.crop_padding == Padding::reflect;
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

void mirror(float* picture, const PictureShape& s) {
  for (std::int64_t line = 0; line < s.channels * s.height; ++line)
    std::reverse(picture + line * s.width, picture + (line + 1) * s.width);
}

void random_colour(float* picture, const PictureShape& s, float levels, const ColourChange& change,
                   const RandomPlace& place) {
  const auto u = draw(place);
  const auto factor = [&](double most, float uniform) { return 1 + static_cast<float>(most) * (2 * uniform - 1); };
  const float brightness = factor(change.brightness, u[4]), contrast = factor(change.contrast, u[5]),
              saturation = factor(change.saturation, u[6]);
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

void random_resized_crop(float* picture, const PictureShape& s, double least_area, const RandomPlace& place) {
  const auto u = draw(place);
  const double area = least_area + (1 - least_area) * u[8], ratio = std::exp((2 * u[9] - 1) * std::log(4.0 / 3));
  const auto height = static_cast<double>(s.height), width = static_cast<double>(s.width);
  const double tall = std::min(1.0, std::sqrt(area * ratio)) * height,
               wide = std::min(1.0, std::sqrt(area / ratio)) * width;
  const double top = u[10] * (height - tall), left = u[11] * (width - wide);
  // The pixels that a row or column lies between, and how near it is to the second.
  struct Between {
    std::int64_t first, second;
    float share;
  };
  const auto between = [](std::int64_t i, double begin, double length, std::int64_t pixels) {
    const double whole = static_cast<double>(pixels);
    const double at = std::clamp(begin + (static_cast<double>(i) + 0.5) * length / whole - 0.5, 0.0, whole - 1);
    const auto first = static_cast<std::int64_t>(at);
    return Between{first, std::min(first + 1, pixels - 1), static_cast<float>(at - static_cast<double>(first))};
  };
  std::vector<float> whole(static_cast<std::size_t>(s.height * s.width));
  for (std::int64_t c = 0; c < s.channels; ++c) {
    float* plane = picture + c * s.height * s.width;
    std::copy(plane, plane + s.height * s.width, whole.begin());
    const auto pixel = [&](std::int64_t y, std::int64_t x) { return whole[static_cast<std::size_t>(y * s.width + x)]; };
    for (std::int64_t y = 0; y < s.height; ++y) {
      const Between v = between(y, top, tall, s.height);
      for (std::int64_t x = 0; x < s.width; ++x) {
        const Between h = between(x, left, wide, s.width);
        const float above = pixel(v.first, h.first) + h.share * (pixel(v.first, h.second) - pixel(v.first, h.first)),
                    below = pixel(v.second, h.first) + h.share * (pixel(v.second, h.second) - pixel(v.second, h.first));
        plane[y * s.width + x] = above + v.share * (below - above);
      }
    }
  }
}

void random_blur(float* picture, const PictureShape& s, double most, const RandomPlace& place) {
  const auto u = draw(place);
  if (u[12] >= 0.5F) return;
  const double sigma = 0.1 + (most - 0.1) * u[13];
  const auto reach = static_cast<std::int64_t>(std::ceil(3 * sigma));
  std::vector<float> weights;
  float sum = 0;
  for (std::int64_t d = -reach; d <= reach; ++d) {
    const double z = static_cast<double>(d) / sigma;
    weights.push_back(static_cast<float>(std::exp(-z * z / 2)));
    sum += weights.back();
  }
  // Along rows, then along columns.
  std::vector<float> line;
  const auto blur = [&](float* first, std::int64_t length, std::int64_t stride) {
    line.resize(static_cast<std::size_t>(length));
    for (std::int64_t i = 0; i < length; ++i) line[static_cast<std::size_t>(i)] = first[i * stride];
    for (std::int64_t i = 0; i < length; ++i) {
      float total = 0;
      for (std::int64_t d = -reach; d <= reach; ++d) {
        const std::int64_t at = std::clamp<std::int64_t>(i + d, 0, length - 1);
        total += weights[static_cast<std::size_t>(d + reach)] * line[static_cast<std::size_t>(at)];
      }
      first[i * stride] = total / sum;
    }
  };
  for (std::int64_t c = 0; c < s.channels; ++c) {
    float* plane = picture + c * s.height * s.width;
    for (std::int64_t y = 0; y < s.height; ++y) blur(plane + y * s.width, s.width, 1);
    for (std::int64_t x = 0; x < s.width; ++x) blur(plane + x, s.height, s.width);
  }
}

}  // namespace igebm::data
