#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "igebm/nn/graph.h"

/// Builders of graphs, one for each kind of network. `input_shape` is (C, H, W) or (D), without the batch.
namespace igebm::nn {

/// What a network is conditional on: a class or numbers, not both (see Graph); and beside them, or alone, the noise
/// level sigma, which makes it E(x, sigma) (see nn/conditions.h).
struct Conditioning {
  std::int64_t classes = 0;
  std::int64_t conditions = 0;
  std::int64_t noise_features = 0;  ///< an even number
};

/// IGEBM's residual energy (Du & Mordatch 2019, appendix A.8): stem, residual blocks, activation, sum over space,
/// linear to one number. Spectral norm on every layer but the last.
struct ResidualOptions {
  std::int64_t stem = 128;                            ///< channels of the first convolution
  std::int64_t stem_kernel = 3;                       ///< 3 (stride 1) or 4 (stride 2, halves the picture: cheap nets)
  std::string blocks = "128d 128 256d 256 256d 256";  ///< width of each block; d: it halves the picture
  std::string activation = "leaky_relu";              ///< leaky_relu (slope 0.2) or silu
  bool spectral_norm = true;
};
Graph residual(const ResidualOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A scalar U-Net: a convolutional picture y of x, and E(x) = <unshuffle(x), y(x)> + linear(mean of the deepest
/// features). Two levels; height and width must divide by 4.
struct UNetOptions {
  std::int64_t channels = 32;       ///< of the first level (half the picture's size)
  std::int64_t deep_channels = 64;  ///< of the second level (a quarter of the picture's size)
  std::int64_t blocks = 1;          ///< residual blocks of the first level, before and after the second
  std::int64_t deep_blocks = 3;     ///< residual blocks of the second level
  std::int64_t groups = 8;          ///< of group norm; 0: no group norm
};
Graph unet(const UNetOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A multilayer perceptron with SiLU, for points.
struct MlpOptions {
  std::vector<std::int64_t> widths = {128, 128, 128};
};
Graph mlp(const MlpOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A classifier: convolutions 4x4 of stride 2 with SiLU, a linear layer to `features` with SiLU, and a linear head to
/// one logit for each of `outputs` classes. The features are what distances between pictures are measured in.
struct ClassifierOptions {
  std::vector<std::int64_t> channels = {32, 64, 128};  ///< of the convolutions; each halves the picture
  std::int64_t features = 64;
};
Graph classifier(const ClassifierOptions&, const std::vector<std::int64_t>& input_shape, std::int64_t outputs);

}  // namespace igebm::nn
