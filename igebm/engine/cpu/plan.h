#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "igebm/engine/cpu/kernels.h"
#include "igebm/nn/graph.h"

/// A network's energy and input gradient as a list of steps over planned buffers: what the CPU engine runs. Biases,
/// labels, skip additions, activations and their derivatives are folded into the step before them.
namespace igebm::engine::cpu {

/// Lanes of a buffer, from `lane` on. buffer < 0: none. A 1 x 1 buffer stands for a whole picture of its value.
struct Ref {
  int buffer = -1, lane = 0;
  explicit operator bool() const { return buffer >= 0; }
};

/// Values of one kind, for every sample of a sub-batch.
struct Buffer {
  int height = 1, width = 1, lanes = 0;
  bool kept = false;    ///< its memory is shared with no other buffer: lanes that no step writes stay as they were
  bool border = false;  ///< of zeros, around whole Winograd tiles: where a convolution reads beyond the edge
  /// The border is one pixel wide, and the right one of a row is the left one of the next: little else than the
  /// picture lies between its first and last pixel. For matrix tiles.
  bool tight = false;
  int beyond = 0;     ///< pixels that a tight border has more at the end of rows and of columns
  bool bf16 = false;  ///< elements are bfloat16 numbers, else float32

  int rows() const { return !border ? height : tight ? height + 2 + beyond : (height + 3) / 4 * 4 + 2; }
  int columns() const { return !border ? width : tight ? width + 1 + beyond : (width + 3) / 4 * 4 + 2; }
  bool single() const { return height * width == 1; }
  std::ptrdiff_t size() const {
    return (std::ptrdiff_t{1} * rows() * columns() + (border && tight ? 1 : 0)) * lanes;  // the last row's right border
  }
  /// Where the picture of a sample starts, in floats.
  std::ptrdiff_t floats(int sample) const { return sample * size() / (bf16 ? 2 : 1); }
  bool same_shape(const Buffer& b) const {
    return height == b.height && width == b.width && lanes == b.lanes && border == b.border && tight == b.tight &&
           beyond == b.beyond && bf16 == b.bf16;
  }
};

/// One convolution or linear layer, forwards or to its input's gradient (for strides above 1 one for each residue of
/// the input's coordinates, of a result of one pixel one for each pixel of the input). A linear layer of a flattened
/// picture is a convolution with a kernel of the picture's size.
struct Convolution {
  struct Tap {
    int ky, kx, dy, dx;  ///< the kernel's element, and where it reads: pixel (step * y + dy, step * x + dx)
  };
  std::string name;  ///< of its parameters
  bool gradient = false;
  std::vector<Tap> taps;
  int step = 1;                            ///< of reading
  int out_step = 1, out_y = 0, out_x = 0;  ///< of writing
  int low = 0;  ///< > 0: so many lanes further lie the low bits of an input (Kernels::load), under the same weights
  std::vector<int> lane_of_input;  ///< of the layer's input channels; of a gradient: of those that it is wanted of
  int layer_inputs = 0, layer_outputs = 0, kernel_height = 1, kernel_width = 1;
  int read = 0;   ///< lanes read of each pixel
  int lanes = 0;  ///< lanes written
  int few = 0;    ///< > 0: that many outputs, by Kernels::direct_few
  bool can_winograd = false;
  bool tiles = false;  ///< reads bfloat16 pictures, by matrix tiles
  std::string key() const { return name + (gradient ? "'" : ""); }
  /// Where its weight (outputs, inputs, height, width) has that of a tap from input i to output o.
  std::ptrdiff_t weight(int o, int i, const Tap& tap) const {
    return ((std::ptrdiff_t{1} * o * layer_inputs + i) * kernel_height + tap.ky) * kernel_width + tap.kx;
  }
};

struct Norm {
  std::string name;
  int groups = 0, elements = 0, statistics = -1;  ///< statistics: buffer, 1 x 1, of 2 * lanes
  int tangents = -1;                              ///< of the tangent, in the same way
  std::vector<int> group;                         ///< of each lane
  std::vector<int> lane_of_channel;
};

/// A vector of lanes that an epilogue adds or multiplies by: parameters, the same for all samples or by label, or
/// labels themselves. Or the derivative of such a one along a joint tangent.
struct Vector {
  enum class Along { none, labels, energy };  ///< labels: these are what moves; energy: its rate in all lanes
  std::string fixed, by_label;                ///< parameters' names; either may be empty. Their sum.
  int lanes = 0;
  std::vector<int> lane_of_channel;
  int first_label = -1;  ///< not negative: the labels' numbers from that one on, a lane of lane_of_channel each
  Along along = Along::none;
  /// Has each sample its own?
  bool by_sample() const { return first_label >= 0 || !by_label.empty() || along == Along::energy; }
};

/// A parameter vector's gradient: rows of lanes, one for each class or condition or one in all.
struct Sink {
  std::string name;  ///< of the parameter
  int rows = 1, lanes = 0;
  bool by_label = false;
  std::vector<int> lane_of_channel;
};

/// Attention, with its gradients' places (to_...) in the backward step, and derivatives (..._dot) along a tangent:
/// there to_... are those of the gradients.
struct AttentionRefs {
  Ref queries, keys, values, gradient, to_queries, to_keys, to_values;
  Ref queries_dot, keys_dot, values_dot, gradient_dot;
  int height = 1, width = 1;   ///< of keys and values
  int tokens = 1;              ///< places of the queries
  int depth = 0, lanes = 0;    ///< of queries and keys, of values
  double multiplications = 0;  ///< of the two products forwards
  float scale = 1;
};

struct Step {
  enum class Kind {
    load,
    convolution,
    pointwise,
    pool,
    group_norm,
    group_norm_gradient,
    inner,
    store,
    weight_gradient,  ///< of `convolution`, from its input `in` and dE/d(its result) `other`
    lane_sums,        ///< of `in`, times `other` if given, into `sink`
    label_slope,      ///< of `in` times `other`, or times the vector `factor`, into the sample's slope along labels
    attention,
    attention_gradient,
    load_tangent,                 ///< of the direction v
    store_tangent,                ///< of dE/dx: the Hessian times v
    group_norm_tangent,           ///< of in's derivative in_dot
    group_norm_gradient_tangent,  ///< the same of group_norm_gradient; the derivatives of in and other: in_dot,
                                  ///< other_dot
    attention_tangent,
    attention_gradient_tangent,
  };
  Kind kind = Kind::pointwise;
  Ref in, other;  ///< other: group_norm_gradient's gradient, inner's second factor
  Ref in_dot, other_dot;
  float scale = 1;
  int zoom_y = 1, zoom_x = 1;
  int convolution = -1, norm = -1, attention = -1;
  int sink = -1;                         ///< of lane_sums; group_norm_gradient: the weight's, the bias' is the next
  int height = 1, width = 1, lanes = 0;  ///< of the result
  int bias = -1, gain = -1;              ///< vectors
  int factor = -1;                       ///< a vector in the place of `multiply`
  bool along_labels = false;             ///< lane_sums: times what the labels move by
  bool scaled = false;                   ///< times what E is multiplied by: 1, which moves along a joint tangent
  Ref add, multiply, out, activated, derivative, bend;
  std::array<Ref, 3> bent;  ///< kernels.h, Epilogue
  Activation activation = Activation::none;
  float slope = 0;
  float multiply_slope = -1;  ///< not negative: multiply holds a leaky ReLU's values (kernels.h, Epilogue)
};

struct Plan {
  std::vector<Buffer> buffers;
  std::vector<int> slot;  ///< of each buffer: buffers that are never needed together share one
  std::vector<Buffer> slots;
  std::vector<Convolution> convolutions;
  std::vector<Norm> norms;
  std::vector<AttentionRefs> attentions;
  std::vector<Vector> vectors;
  std::vector<Sink> sinks;
  std::vector<Step> forward, backward;
  std::vector<Step> tangent;  ///< after both: the derivatives of their results along a direction
  std::array<const std::vector<Step>*, 3> lists() const { return {&forward, &backward, &tangent}; }
  int ones = -1, energy = -1;  ///< buffers, 1 x 1: 1 in lane 0; E in lane 0
  int input_channels = 0, input_zoom = 1;
  float input_scale = 1, input_shift = 0;
  std::int64_t elements = 0;  ///< of an input
  int labels = 0;             ///< classes or conditions
};

enum class Wanted {
  input_gradient,       ///< dE/dx
  parameter_gradients,  ///< dE/d(weights), for every sample weighted by a number
  tangent,              ///< dE/dx, then the gradient in the weights of <v, dE/dx> (plan_tangent.cpp)
  joint_tangent,        ///< the same along labels and the energy's scale, too: <dE/dlabels, labels'> beside dE/dx, then
                        ///< the gradient of <v, dE/dx> + w <dE/dlabels, labels'> + a E
  hessian_product,      ///< dE/dx, then its derivative along v
};

enum class Storage {
  f32,
  bf16,  ///< pictures as bfloat16 numbers wherever what reads and writes them can: for Kernels::tiles
};

/// Empty, with `why` telling the operation, where the network has something that the engine does not know.
std::optional<Plan> make_plan(const nn::Graph& graph, Wanted wanted, std::string& why, Storage storage = Storage::f32);

}  // namespace igebm::engine::cpu
