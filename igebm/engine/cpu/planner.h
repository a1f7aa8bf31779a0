#pragma once

#include <array>
#include <map>
#include <vector>

#include "igebm/engine/cpu/plan.h"

namespace igebm::engine::cpu {

/// What a network has that the engine does not know.
struct Unknown {
  std::string why;
};

/// All that a step reads or writes.
std::vector<Ref> refs(const Plan& plan, const Step& s);

/// Makes a plan: forwards node by node (plan_forward.cpp), then backwards (plan_backward.cpp), the tangents of all
/// these steps (plan_tangent.cpp), then memory (plan.cpp).
class Planner {
 public:
  Planner(const nn::Graph& graph, Wanted wanted, Storage storage);
  Plan make();

 private:
  using Node = nn::Node;
  using Op = nn::Op;

  /// A node's value while the plan is made.
  struct Value {
    int height = 1, width = 1, lanes = 0;
    std::vector<int> lane_of_channel;
    Ref at;          ///< where it is stored; none: folded into a later step
    Ref derivative;  ///< of an activation's value; none where the value tells it
    int planes = 0;  ///< channels at the end that are labels, and need no gradient
    bool done = false;
  };

  struct Contributions {
    std::vector<Ref> refs;
    std::vector<std::vector<Step>> steps;  ///< each alone makes one contribution: several for the residues of a stride
  };

  const Node& node(int i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  Value& value(int i) { return values_[static_cast<std::size_t>(i)]; }
  Value& input(const Node& n, int i = 0) { return value(n.inputs[static_cast<std::size_t>(i)]); }
  const std::vector<int>& consumers(int i) const { return consumers_[static_cast<std::size_t>(i)]; }
  bool wanted(int i) const { return wanted_[static_cast<std::size_t>(i)]; }
  /// Does the sign of an activation's value tell its derivative?
  static bool tells_derivative(const Node& n) { return n.op == Op::leaky_relu && n.slope >= 0; }
  static bool is_activation(const Node& n) { return n.op == Op::leaky_relu || n.op == Op::silu; }

  [[noreturn]] void unknown(const Node& n, const std::string& what) const;
  int new_buffer(int height, int width, int lanes, bool kept = false);
  Ref new_place(const Value& v) { return {new_buffer(v.height, v.width, v.lanes), 0}; }
  /// The value's size; its channels in order, padded.
  Value shaped(int i) const;
  /// The value's size; its channels where those of the node's input are.
  Value shaped_like_input(int i);
  Step step(Step::Kind kind, const Value& v) const;
  int new_vector(const std::string& fixed, const std::string& by_label, const Value& v);
  Ref stored(const Node& n, int i = 0);
  static bool stored_alike(const Value& a, const Value& b) {
    return a.lane_of_channel == b.lane_of_channel && a.height == b.height && a.width == b.width;
  }
  /// Throws unless a label's vector has as many channels as the value that it belongs to is stored with.
  void require_channels(const Node& n, const Value& v) const;

  void forward(int i);
  /// Folds what follows node i into the step that makes its value, places the result and appends the step.
  void finish(int i, Step s);
  /// The input with the affine maps, pixel-unshuffle or flattening that follow it.
  void load(int i);
  /// Do only convolutions that tiles can do read value i?
  bool read_by_tiles(int i) const;
  void forward_layer(int i);
  int forward_convolution(const Node& n, const Value& in, const Value& out);
  /// Of a value that no step of ours ends with: an input, or one of several activations.
  void forward_activation(int i);
  void forward_group_norm(int i);
  void forward_add(int i);
  void forward_concat(int i);
  void forward_product(int i);
  void forward_label_planes(int i);
  void forward_attention(int i);

  void backward(int i);
  /// What dE/d(value i) = g gives to the inputs of node i, and to its parameters where those are wanted.
  void differentiate(int i, Ref g);
  void layer_gradient(int i, Ref g);
  void group_norm_gradient(int i, Ref g);
  /// Throws unless a step makes the gradient of each parameter that the energy depends on.
  void require_parameters() const;
  void give(int i, Ref gradient);
  void give(int i, std::vector<Step> steps);
  /// dE/d(value i), all contributions together; with the derivative of the activation that made the value, if one did.
  Ref gradient(int i);
  int new_sink(const std::string& name, const Value& v, std::int64_t labels = 0);
  /// The gradient of a vector that is added to value v (or multiplied with `factor`), from dE/dv = g.
  void sum_lanes(const std::string& name, const Value& v, Ref g, Ref factor = {}, std::int64_t labels = 0);
  /// What labels that give a vector (of the step that makes value v) add to dE along them, from dE/dv = g. gained: what
  /// is multiplied by the vector, where it is no bias.
  void label_slope(Vector vector, const Value& v, Ref g, Ref gained = {});
  /// dE/d(one factor of a product, value v), where E is what the product is added to.
  void product_gradient(int i, const Value& v, Ref other);
  std::vector<Step> convolution_gradient(int i, Ref g);
  void attention_gradient(int i, Ref g);

  /// Adds the derivative of each step along the direction: a result's is in dots_, of its buffer.
  void add_tangents();
  void add_tangent(const Step& s);
  void linear_tangent(const Step& s);
  void norm_gradient_tangent(const Step& s);
  /// The attention of a step with the derivatives of what it reads: an index of attentions.
  int attention_dot(int attention);
  void attention_gradient_tangent(const Step& s);
  /// Where the derivative of what is stored at r is; none where it is 0.
  Ref dot(Ref r) const;
  Ref dot_or_zeros(Ref r, int lanes) { return dot(r) ? dot(r) : zeros(lanes); }
  Ref new_dot(Ref r);
  /// The vector that is another's derivative; -1: that of a constant.
  int vector_dot(int vector);
  /// What moves a step's result because its gain moves: in times that, with `add` added; none if it does not.
  Ref gain_dot(const Step& s, Ref add);
  /// What Epilogue::bent is along the tangent of a step that multiplies by an activation's derivative.
  std::array<Ref, 3> bent(const Step& s) const;
  Ref zeros(int lanes) { return {new_buffer(1, 1, lanes, true), 0}; }
  /// Drops the steps of the tangent whose results nothing reads.
  void drop_unread_tangents();

  /// Chooses the pictures that are stored in bfloat16, and with them the convolutions by tiles.
  void choose_storage();
  /// Borders of zeros for what convolutions read beyond the edge.
  void add_borders();
  /// Buffers of one size whose times of use do not meet share their memory.
  void share_memory();

  const nn::Graph& graph_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<Value> values_;
  std::vector<std::vector<int>> consumers_;
  std::vector<Contributions> contributions_;
  std::vector<bool> wanted_;                                    // is dE/d(value) needed?
  std::map<int, int> norm_of_, convolution_of_, attention_of_;  // of a node
  Plan plan_;
  int loaded_ = -1;
  int low_ = 0;                      // Convolution::low of what reads the input
  std::vector<int> differentiated_;  // nodes, where the parameters' gradients are wanted
  bool stored_ = false;
  bool for_parameters_, for_tangent_, joint_, hessian_;
  struct Bend {
    Ref activated, bend;
  };
  std::map<int, Bend> bends_;  // of an activation, by the buffer of its derivative
  std::map<int, int> dots_;
  Storage storage_;
};

}  // namespace igebm::engine::cpu
