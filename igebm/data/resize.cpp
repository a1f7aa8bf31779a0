#include "igebm/data/resize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace igebm::data {
namespace {

/// What one output pixel of a row or column is made of: `weights` on the inputs from `first` on.
struct Taps {
  std::int64_t first;
  std::vector<float> weights;
};

/// Output pixels of an axis of `length` that is scaled so that `covered` inputs become `size`, about its centre.
std::vector<Taps> taps(std::int64_t length, double covered, std::int64_t size) {
  const double scale = covered / static_cast<double>(size), start = (static_cast<double>(length) - covered) / 2;
  std::vector<Taps> all;
  for (std::int64_t i = 0; i < size; ++i) {
    Taps t{0, {}};
    if (scale >= 1) {
      const double low = start + static_cast<double>(i) * scale, high = low + scale;
      t.first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(low + 1e-9)), 0, length - 1);
      for (std::int64_t j = t.first; j < length && static_cast<double>(j) < high - 1e-9; ++j) {
        const double part = std::min(high, static_cast<double>(j + 1)) - std::max(low, static_cast<double>(j));
        t.weights.push_back(static_cast<float>(part / scale));
      }
    } else {
      const double centre =
          std::clamp(start + (static_cast<double>(i) + 0.5) * scale - 0.5, 0.0, static_cast<double>(length - 1));
      t.first = std::min<std::int64_t>(static_cast<std::int64_t>(centre), std::max<std::int64_t>(length - 2, 0));
      const auto part = static_cast<float>(centre - static_cast<double>(t.first));
      t.weights = {1 - part};
      if (length > 1) t.weights.push_back(part);
    }
    all.push_back(std::move(t));
  }
  return all;
}

float at_channel(const PictureView& in, std::int64_t channels, std::int64_t c, const std::uint8_t* pixel) {
  if (channels == in.channels) return pixel[c * in.channel];
  if (in.channels == 1) return pixel[0];
  return 0.299F * pixel[0] + 0.587F * pixel[in.channel] + 0.114F * pixel[2 * in.channel];
}

}  // namespace

void fit(const PictureView& in, std::int64_t channels, std::int64_t size, std::uint8_t* out) {
  const auto side = static_cast<double>(std::min(in.height, in.width));
  const std::vector<Taps> across = taps(in.width, side, size), down = taps(in.height, side, size);
  const std::int64_t top = down.front().first;
  const std::int64_t bottom = down.back().first + static_cast<std::int64_t>(down.back().weights.size());
  std::vector<float> rows(static_cast<std::size_t>((bottom - top) * size));  // narrowed, not yet shortened
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = top; y < bottom; ++y) {
      float* row = rows.data() + (y - top) * size;
      for (std::int64_t x = 0; x < size; ++x) {
        const Taps& t = across[static_cast<std::size_t>(x)];
        const std::uint8_t* pixel = in.data + y * in.row + t.first * in.column;
        float sum = 0;
        for (const float weight : t.weights) {
          sum += weight * at_channel(in, channels, c, pixel);
          pixel += in.column;
        }
        row[x] = sum;
      }
    }
    for (std::int64_t y = 0; y < size; ++y) {
      const Taps& t = down[static_cast<std::size_t>(y)];
      for (std::int64_t x = 0; x < size; ++x) {
        const float* value = rows.data() + (t.first - top) * size + x;
        float sum = 0.5F;
        for (const float weight : t.weights) {
          sum += weight * *value;
          value += size;
        }
        *out++ = static_cast<std::uint8_t>(std::min(sum, 255.0F));
      }
    }
  }
}

at::Tensor fit(const at::Tensor& pictures, std::int64_t channels, std::int64_t size) {
  const std::int64_t count = pictures.size(0), c = pictures.size(1), h = pictures.size(2), w = pictures.size(3);
  if (channels == 0) channels = c;
  if (size == 0 && channels != c) {
    if (c == 1) return pictures.expand({count, channels, h, w}).contiguous();
    const at::Tensor weights = at::tensor({0.299F, 0.587F, 0.114F}).view({1, 3, 1, 1});
    at::Tensor grey = at::empty({count, 1, h, w}, at::kByte);
    for (std::int64_t i = 0; i < count; i += 1024) {  // a part at a time: floats are four times as large
      const std::int64_t part = std::min<std::int64_t>(1024, count - i);
      grey.narrow(0, i, part)
          .copy_((pictures.narrow(0, i, part).to(at::kFloat) * weights).sum(1, true).round().clamp(0, 255));
    }
    return grey;
  }
  if ((size == 0 || (h == size && w == size)) && channels == c) return pictures;
  const at::Tensor in = pictures.contiguous();
  at::Tensor out = at::empty({count, channels, size, size}, at::kByte);
  const auto* from = in.const_data_ptr<std::uint8_t>();
  auto* to = out.data_ptr<std::uint8_t>();
  at::parallel_for(0, count, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      fit({from + i * c * h * w, c, h, w, h * w, w, 1}, channels, size, to + i * channels * size * size);
  });
  return out;
}

}  // namespace igebm::data
