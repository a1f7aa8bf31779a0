#pragma once

#include <ATen/core/Tensor.h>

namespace igebm::evaluation {

/// Where edges are, and which way they go: features of pictures that nobody trained, as character recognition has used
/// them (Kimura et al. 1987; Dalal & Triggs 2005). Pictures blurred by .7 pixels; at each pixel the gradient's size is
/// shared out to the two nearest of eight directions; each direction's map, and the picture itself, is averaged under a
/// Gaussian of 2 pixels at every fourth pixel; the square root of that, which evens out strokes' widths. Colour
/// channels are averaged. Of uint8 or float (N, C, H, W) in [0, 1]: (N, 9 h w) float with h = ceil((H + 2) / 4). Throws
/// UserError for what is no picture.
at::Tensor oriented_gradients(const at::Tensor& pictures);

}  // namespace igebm::evaluation
