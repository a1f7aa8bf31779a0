#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "igebm/base/enums.h"
#include "igebm/nn/operations.h"

/// Networks as data: a list of nodes in order of evaluation, each an operation of the table in nn/operations.h.
/// Everything that handles a network reads this one description: the trainable module (nn/network.h), the fast engine
/// (engine/), checkpoints and docs/checkpoint.md.
///
/// Shapes: images (N, C, H, W), features (N, D), energies (N).
namespace igebm::nn {

/// How a weight is normalised before use. The kernel is seen as an (out) x (in k k) matrix with largest singular
/// value s, estimated by one power iteration a parameter step (buffers u (out), v (in k k)).
enum class Norm {
  none,
  spectral,         ///< W / s
  spectral_capped,  ///< W / s * min(s, 1), for weights that start near zero
};
inline constexpr std::array norm_names = {"none", "spectral", "spectral_capped"};
constexpr const auto& names_of(Norm) { return norm_names; }

/// How a weight starts.
enum class Init {
  he,  ///< uniform in +-1/sqrt(fan in), as torch.nn.Conv2d and Linear
  zero,
  tiny,  ///< normal, standard deviation 1e-10 (IGEBM's second convolution)
};
inline constexpr std::array init_names = {"he", "zero", "tiny"};
constexpr const auto& names_of(Init) { return init_names; }

struct Node {
  Op op = Op::input;
  std::vector<int> inputs = {};  ///< indices of earlier nodes
  std::string name = {};  ///< prefix of its parameters' names ("block1.conv1" -> "block1.conv1.weight"), may be empty
  std::int64_t in = 0;    ///< channels or features that enter (of the first input)
  std::int64_t out = 0;   ///< channels or features that leave
  std::int64_t k = 0;     ///< kernel, pool, upsampling or shuffle size
  std::int64_t stride = 1;
  std::int64_t padding = 0;      ///< of conv2d: zeros on each side
  std::int64_t padding_end = 0;  ///< more of them below and to the right, where a stride does not divide a picture
  std::int64_t groups = 1;       ///< of group_norm
  std::int64_t classes = 0;      ///< of label_*: classes or conditions of the graph
  bool bias = false;
  double scale = 1, shift = 0;  ///< of affine
  double slope = 0.2;           ///< of leaky_relu
  double rate = 0;              ///< of dropout, in [0, 1)
  Norm norm = Norm::none;
  Init init = Init::he;
};

/// The last node's value is the energy, (N); of a classifier (outputs > 0) the classes' logits, (N, outputs).
///
/// A network may be conditional, either on a class or on numbers: with classes > 0 its labels are (N) int64 in
/// [0, classes), and l above is the one-hot row; with conditions > 0 they are (N, conditions) float, and l is that row.
/// With noise_features > 0 it is E(x, sigma): its last conditions are features of a noise level, and the first
/// condition_classes of them a one-hot class, or number_features of them, before the noise level's, features of the
/// numbers; nn/conditions.h makes such rows.
struct Graph {
  std::vector<std::int64_t> input_shape;  ///< (C, H, W) or (D)
  std::vector<Node> nodes;
  std::int64_t classes = 0;                                ///< 0: not conditional on a class
  std::int64_t outputs = 0;                                ///< of a classifier; 0: an energy
  std::int64_t conditions = 0;                             ///< 0: not conditional on numbers
  std::int64_t condition_classes = 0, noise_features = 0;  ///< of the conditions
  std::int64_t number_features = 0;                        ///< of the conditions, with noise_features: of its numbers
  /// With noise_features: trained without being told the condition as well. Of a class that is a row of zeros; numbers
  /// have one condition more behind them, which is 1 where they are told and 0, as they are, where they are not.
  bool optional_condition = false;

  bool conditional() const { return classes > 0 || conditions > 0; }
  /// Labels of `count` inputs that only have the right shape: zeros; undefined if the network takes none.
  at::Tensor some_labels(std::int64_t count) const;
  /// Throws UserError unless `labels` are what the network takes for `count` inputs.
  void check_labels(const at::Tensor& labels, std::int64_t count) const;

  int add(Node node);  ///< appends and returns its index
};

/// As JSON, the form kept in checkpoints, and back. from_json throws UserError on an unknown operation or field.
std::string to_json(const Graph& graph);
Graph graph_from_json(const std::string& text);

/// The shape (without N) of every node's value. Throws UserError where shapes do not fit together.
std::vector<Shape> shapes(const Graph& graph);

/// Is E(x) differentiable as often as one likes?
bool is_smooth(const Graph& graph);

/// The shapes of a node's inputs, of those of all nodes.
std::vector<Shape> input_shapes(const Node& node, const std::vector<Shape>& shapes);

}  // namespace igebm::nn
