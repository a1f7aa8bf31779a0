#pragma once

#include <cstdint>

#include "igebm/base/random.h"
#include "igebm/data/data.h"

/// What is done to a picture at random, each a function of `place` (seed, record, epoch) alone. Elements of its stream:
/// 0, 1 the flip; 2, 3 the crop; 4, 5, 6 brightness, contrast and saturation; 8 to 11 the resized crop; 12, 13 the
/// blur.
namespace igebm::data {

struct PictureShape {
  std::int64_t channels, height, width;
};

/// Shifted by -crop to crop pixels each way, uniformly; what comes in from outside is black or the picture's
/// reflection (without its border's pixel twice).
void random_crop(float* picture, const PictureShape& shape, const Options& options, const RandomPlace& place);

void mirror(float* picture, const PictureShape& shape);  ///< left for right

/// Greatest changes, each in [0, 1], as in Options.
struct ColourChange {
  double brightness = 0, contrast = 0, saturation = 0;
  bool any() const { return brightness > 0 || contrast > 0 || saturation > 0; }
};

/// Values in [0, levels): brightness, then contrast, then saturation; clamped to [0, levels].
void random_colour(float* picture, const PictureShape& shape, float levels, const ColourChange& change,
                   const RandomPlace& place);

/// A rectangle of the picture, a share of its area uniform in [least_area, 1] and a ratio of sides between 3 : 4 and
/// 4 : 3 (log-uniform, cut to fit), anywhere in it, enlarged to the whole bilinearly (Szegedy et al. 2015).
void random_resized_crop(float* picture, const PictureShape& shape, double least_area, const RandomPlace& place);

/// With probability 1/2 a Gaussian blur of standard deviation uniform in [0.1, most] pixels, most >= 0.1, cut at three
/// of them; the picture goes on as its border does.
void random_blur(float* picture, const PictureShape& shape, double most, const RandomPlace& place);

}  // namespace igebm::data
