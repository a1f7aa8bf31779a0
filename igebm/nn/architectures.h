#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "igebm/io/recipe.h"
#include "igebm/nn/graph.h"

/// Builders of graphs, one for each kind of network. `input_shape` is (C, H, W) or (D), without the batch. Each throws
/// UserError where an option is out of the range in its description (`describe`, which recipes are read by).
namespace igebm::nn {

enum class Activation { leaky_relu, silu };  ///< leaky_relu: of slope 0.2
inline constexpr std::array activation_names = {"leaky_relu", "silu"};
constexpr const auto& names_of(Activation) { return activation_names; }

/// What a network is conditional on: a class or numbers, not both (see Graph); and beside them, or alone, the noise
/// level sigma, which makes it E(x, sigma) (see nn/conditions.h).
struct Conditioning {
  std::int64_t classes = 0;
  std::int64_t conditions = 0;
  std::int64_t noise_features = 0;   ///< an even number
  bool optional_condition = false;   ///< with noise_features: nothing may be asked for (Graph's)
  std::int64_t number_features = 0;  ///< an even number, with conditions and noise_features (number_features())
};

/// IGEBM's residual energy (Du & Mordatch 2019, appendix A.8): stem, residual blocks, an activation after the last
/// one's own, sum over space, linear to one number. Spectral norm on every layer but the last. docs/recipes.md lists
/// the paper's. Attention as in SAGAN (Zhang et al. 2018): 1x1 convolutions to queries, keys (1/8 of the channels) and
/// values (1/2), and one back, added.
struct ResidualOptions {
  std::int64_t stem = 128;                            ///< channels of the first convolution
  std::int64_t stem_kernel = 3;                       ///< 3 (stride 1) or 4 (stride 2, halves the picture: cheap nets)
  std::string blocks = "128d 128 256d 256 256d 256";  ///< width of each block; d: it halves the picture
  Activation activation = Activation::leaky_relu;
  bool spectral_norm = true;
  bool attention = false;  ///< self-attention after the first stage: before the second block that halves the picture
  double dropout = 0;      ///< rate, before each block's second convolution
};
void describe(io::Fields& fields, ResidualOptions& options);
Graph residual(const ResidualOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// IGEBM's networks for MNIST (these values) and dSprites (stem 32, channels 64 128 128 128, silu, no label planes):
/// a 3x3 stem, convolutions 4x4 of stride 2, a linear layer, each with an activation, and linear to one number.
/// Spectral norm on every layer but the last.
struct StridedOptions {
  std::int64_t stem = 64;                               ///< channels of the first convolution
  std::vector<std::int64_t> channels = {64, 128, 256};  ///< of the strided ones; each halves the picture
  std::int64_t dense = 128;                             ///< features of the linear layer
  Activation activation = Activation::leaky_relu;
  bool spectral_norm = true;
  bool label_planes = true;  ///< labels beside the picture, as planes; false: as a bias into each strided convolution
};
void describe(io::Fields& fields, StridedOptions& options);
Graph strided(const StridedOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A scalar U-Net: a convolutional picture y of x, and E(x) = <unshuffle(x), y(x)> + linear(mean of the deepest
/// features). The picture's sides must divide by patch * 2^(levels - 1).
struct UNetOptions {
  std::vector<std::int64_t> channels = {32, 64};  ///< of each level; each has half the size of the one before
  std::vector<std::int64_t> blocks = {1, 3};      ///< residual blocks of each level, before and after the deeper ones
  std::int64_t patch = 2;   ///< pixels a side that make one place of the first level, as channels; 1: none are joined
  std::int64_t groups = 8;  ///< of group norm; 0: no group norm
  bool attention = false;   ///< self-attention at the deepest level, after its first block
  double dropout = 0;       ///< rate, before each block's second convolution
};
void describe(io::Fields& fields, UNetOptions& options);
Graph unet(const UNetOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A multilayer perceptron with SiLU, for points.
struct MlpOptions {
  std::vector<std::int64_t> widths = {128, 128, 128};
};
void describe(io::Fields& fields, MlpOptions& options);
Graph mlp(const MlpOptions&, const std::vector<std::int64_t>& input_shape, const Conditioning& = {});

/// A classifier: convolutions 4x4 of stride 2 with SiLU, a linear layer to `features` with SiLU, and a linear head to
/// one logit for each of `outputs` classes. The features are what distances between pictures are measured in.
struct ClassifierOptions {
  std::vector<std::int64_t> channels = {32, 64, 128};  ///< of the convolutions; each halves the picture
  std::int64_t features = 64;
};
void describe(io::Fields& fields, ClassifierOptions& options);
Graph classifier(const ClassifierOptions&, const std::vector<std::int64_t>& input_shape, std::int64_t outputs);

}  // namespace igebm::nn
