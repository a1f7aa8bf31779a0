#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace igebm::data {

/// A picture anywhere in memory: value (c, y, x) is at data[c * channel + y * row + x * column].
struct PictureView {
  const std::uint8_t* data;
  std::int64_t channels, height, width;
  std::int64_t channel, row, column;
};

/// `in` made `channels` (1 or 3) by `size` by `size`: the short side resized to `size`, the centre of the long side
/// kept. Smaller: each pixel is the mean of the area it covers (box filter); larger: linear interpolation. Grey from
/// colour is .299 R + .587 G + .114 B. `out` is channels * size * size bytes.
void fit(const PictureView& in, std::int64_t channels, std::int64_t size, std::uint8_t* out);

/// The same for pictures (N, C, H, W), uint8; size 0 keeps height and width, channels 0 the channels.
at::Tensor fit(const at::Tensor& pictures, std::int64_t channels, std::int64_t size);

}  // namespace igebm::data
