#pragma once

#include <cstdint>

#include "igebm/base/random.h"
#include "igebm/data/data.h"

/// What is done to a picture at random, each a function of `place` (seed, record, epoch) alone. Elements of its stream:
/// 0, 1 the flip; 2, 3 the crop; 4, 5, 6 brightness, contrast and saturation.
namespace igebm::data {

struct PictureShape {
  std::int64_t channels, height, width;
};

/// Shifted by -crop to crop pixels each way, uniformly; what comes in from outside is black or the picture's
/// reflection (without its border's pixel twice).
void random_crop(float* picture, const PictureShape& shape, const Options& options, const RandomPlace& place);

/// Values in [0, levels): brightness, then contrast, then saturation; clamped to [0, levels].
void random_colour(float* picture, const PictureShape& shape, float levels, const Options& options,
                   const RandomPlace& place);

}  // namespace igebm::data
