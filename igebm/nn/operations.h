#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// The operations that networks are made of: one table, which the graph's shapes and JSON, the trainable network and
/// all engines read.
///
/// A new operation is a line here. The compiler then asks for the functions that the line names (operations.cpp), and
/// for a case in every switch over Op: how autograd, the engines on the CPU and on devices, and the test of all
/// operations take it. Those switches have no `default`, and -Wswitch is an error; an engine that is to leave the
/// operation to autograd says so in its case.
namespace igebm::nn {

/// name      | inputs | smooth | shape | parameters | cost | value
///
/// smooth: differentiable as often as one likes. shape, parameters, cost: functions in operations.cpp, see Operation.
/// value: a, b, c are the inputs, the other names fields of Node.
// clang-format off
#define IGEBM_OPERATIONS(line)                                                                                         \
  line(input,        0, true,  input_shape, none,           nothing,          "x")                                     \
  line(affine,       1, true,  same,        none,           nothing,          "scale a + shift, elementwise")          \
  line(conv2d,       1, true,  convolved,   of_convolution, convolution_cost,                                          \
       "a, with zeros around it, convolved with weight (out, in, k, k); plus bias (out) if `bias`")                    \
  line(linear,       1, true,  layer,       of_layer,       layer_cost,                                                \
       "a W' with W = weight (out, in); plus bias (out) if `bias`")                                                    \
  line(group_norm,   1, true,  normalised,  of_norm,        nothing,                                                   \
       "group norm (Wu & He 2018), eps 1e-5; weight (in), bias (in)")                                                  \
  line(leaky_relu,   1, false, same,        none,           nothing,          "a where it is positive, else slope a")  \
  line(silu,         1, true,  same,        none,           nothing,          "a sigmoid(a)")                          \
  line(avg_pool,     1, true,  pooled,      none,           nothing,          "k x k means, stride k")                 \
  line(upsample,     1, true,  enlarged,    none,           nothing,          "nearest, by k")                         \
  line(unshuffle,    1, true,  unshuffled,  none,           nothing,                                                   \
       "pixel-unshuffle by k: (C, H, W) -> (C k k, H/k, W/k), channel order as in PyTorch")                            \
  line(add,          2, true,  of_equal,    none,           nothing,          "a + b")                                 \
  line(concat,       2, true,  joined,      none,           nothing,          "a and b along channels")                \
  line(sum_pool,     1, true,  channels,    none,           nothing,          "(C, H, W) -> (C), sum over space")      \
  line(mean_pool,    1, true,  channels,    none,           nothing,          "(C, H, W) -> (C), mean over space")     \
  line(flatten,      1, true,  flattened,   none,           nothing,          "(...) -> (D)")                          \
  line(inner,        2, true,  product,     none,           nothing,          "sum of a b -> ()")                      \
  line(half_square,  1, true,  number,      none,           nothing,          "1/2 sum of a^2 -> ()")                  \
  line(squeeze,      1, true,  squeezed,    none,           nothing,          "(1) -> ()")                             \
  line(label_bias,   1, true,  labelled,    of_labels,      nothing,                                                   \
       "a + l W per channel; W = weight (classes or conditions, in), l: see Graph")                                    \
  line(label_gain,   1, true,  labelled,    of_labels,      nothing,                                                   \
       "a (1 + l W) per channel; the same parameter")                                                                  \
  line(label_planes, 1, true,  planes,      none,           nothing,                                                   \
       "(C, H, W) -> (C + classes or conditions, H, W): after a, l as planes of equal values")                         \
  line(attention,    3, true,  attended,    none,           attention_cost,                                            \
       "queries a (D, H, W), keys b (D, h, w), values c (C, h, w) -> (C, H, W): at each place of the "                 \
       "queries the mean of the values, weighted by softmax over their places of query . key / sqrt(D)")               \
  line(dropout,      1, true,  dropped,     none,           nothing,                                                   \
       "in training each element 0 with probability rate, else a / (1 - rate); otherwise a")
// clang-format on

enum class Op {
#define IGEBM_NAME(op, ...) op,
  IGEBM_OPERATIONS(IGEBM_NAME)
#undef IGEBM_NAME
};

struct Node;
struct Graph;

using Shape = std::vector<std::int64_t>;  ///< of a value, without N

/// What a parameter starts with.
enum class Start {
  init,  ///< as Node::init says
  ones,
  zeros,
};

struct Parameter {
  const char* name;  ///< behind the node's name and a dot
  Shape shape;
  Start start = Start::zeros;
};

/// A line of the table.
struct Operation {
  Op op;
  const char* name;  ///< in checkpoints
  std::size_t inputs;
  bool smooth;
  /// Of the value, from the shapes of the inputs. Throws UserError, without the place, where they do not fit.
  Shape (*shape)(const Node&, const Graph&, const std::vector<Shape>& inputs);
  /// The first is what Node::norm normalises.
  std::vector<Parameter> (*parameters)(const Node&);
  /// Of the value and its inputs' gradients for one input of the network: 2 for each multiplication of matrices.
  double (*cost)(const Node&, const std::vector<Shape>& inputs, const Shape& value);
  const char* value;  ///< in words
};

/// All of them, in the order of Op.
std::span<const Operation> operations();
const Operation& operation(Op op);
const char* name(Op op);

/// The end of a backend's switch over operations: throws std::logic_error that names both. `what` says what the backend
/// was to do with it.
[[noreturn]] void unhandled(Op op, const std::string& backend, const char* what = "");

}  // namespace igebm::nn
