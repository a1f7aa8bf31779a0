#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "igebm/engine/heads.h"
#include "igebm/engine/steps.h"
#include "igebm/nn/network.h"

namespace igebm::engine {

/// A network's steps in tensor operations of any device: values, gradients derived by hand, and how these move along a
/// tangent. On inputs of one shape the operations are always the same, on the same weights' memory, and never wait.
class Passes {
 public:
  /// Weights are kept by reference: packed, those that are multiplied in `compute`, and all of them `exact`.
  Passes(const nn::Graph& graph, const nn::Tensors& exact, const nn::Tensors& packed, at::ScalarType compute,
         at::ScalarType exact_type);

  /// An evaluation: values of all nodes, what the gradient needs of each step, and gradients of all values.
  struct Pass {
    Pass(std::size_t nodes, std::size_t steps) : values(nodes), kept(steps), sums(nodes) {}
    std::vector<at::Tensor> values;
    std::vector<Kept> kept;
    Sums sums;
  };
  Pass begin() const { return {graph_.nodes.size(), steps_.size()}; }

  /// E(x) (N) and, where it is asked for, dE/dx, in the exact type. With `keep`, what tangents need stays in the pass,
  /// which is fresh.
  void evaluate(const at::Tensor& x, const at::Tensor& labels, Pass& pass, at::Tensor& energies, at::Tensor* gradient,
                bool keep) const;
  /// Have all of the network's operations tangents?
  bool have_tangents() const;
  /// <dE/dlabels, labels_dot> (N), of a pass that kept what tangents need, of labels that are numbers.
  at::Tensor label_slope(const Pass& pass, const at::Tensor& labels_dot) const;
  /// What a tangent is along: v like x, labels_dot like labels that are numbers, scale (N) of E; undefined: 0.
  struct Direction {
    at::Tensor v, labels_dot, scale;
  };
  /// Adds the gradient in the weights of sum_i [<v_i, dE/dx(x_i)> + <labels_dot_i, dE/dlabels(x_i)> + scale_i E(x_i)],
  /// of a pass that kept what it needs.
  void pull(const Pass& pass, const at::Tensor& labels, const Direction& along, nn::Tensors& into) const;
  /// The Hessian of E at a pass that kept what tangents need, times v, like x.
  at::Tensor hessian_product(const Pass& pass, const at::Tensor& labels, const at::Tensor& v) const;

 private:
  const nn::Node& head(const Step& s) const { return graph_.nodes[static_cast<std::size_t>(s.head)]; }
  const at::Tensor& exact(const std::string& name) const { return exact_weights_.at(name); }
  at::Tensor by_label(const std::string& name, const at::Tensor& labels) const;
  void put_input(const at::Tensor& x, std::vector<at::Tensor>& values) const;
  bool is_norm(const Step& s) const { return s.head >= 0 && head(s).op == nn::Op::group_norm; }
  static bool silu_in_norm(const Step& s);
  fused::GroupNorm norm(const Step& s) const;
  void forward(const Step& s, const at::Tensor& labels, std::vector<at::Tensor>& values, Kept& kept) const;
  void backward(const Step& s, const at::Tensor& labels, const std::vector<at::Tensor>& values, Kept& kept, Sums& sums,
                bool keep) const;
  void forward_tangent(const Step& s, const at::Tensor& labels, const at::Tensor& labels_dot, const Pass& pass,
                       const Kept& kept, Pass& dot, Kept& kept_dot) const;
  void backward_tangent(const Step& s, const at::Tensor& labels, const at::Tensor& labels_dot, const Pass& pass,
                        const Kept& kept, Pass& dot, const Kept& kept_dot, nn::Tensors* into) const;
  /// What tangents along a direction come to, of all values and their gradients; into null: the weights' are not asked.
  Pass tangents(const Pass& pass, const at::Tensor& labels, const Direction& along, nn::Tensors* into) const;
  /// A pass's gradient in the input, like x.
  at::Tensor of_input(const Pass& pass, const at::Tensor& x) const;
  /// Sums over a picture's pixels, (N, C) exact; of (N, C) itself.
  at::Tensor label_rows(const at::Tensor& g) const;
  /// The gradient of a table of labels' rows, or the matrix that numbers are multiplied by, from that of the rows.
  at::Tensor of_label_rows(const std::string& name, const at::Tensor& labels, const at::Tensor& rows) const;
  static fused::GroupNormTangent norm_tangent_of(const Step& s, const Pass& pass, const Kept& kept, const Pass& dot,
                                                 const Kept& kept_dot);
  void pull_norm(const Step& s, const Pass& pass, const Kept& kept, Pass& dot, const Kept& kept_dot,
                 const fused::GroupNormPull& pull, nn::Tensors* into) const;
  void pull_head(const Step& s, const Pass& pass, const Kept& kept, Pass& dot, const Kept& kept_dot,
                 const at::Tensor& g_dot, nn::Tensors* into) const;

  nn::Graph graph_;  // without dropout
  std::vector<Step> steps_;
  const nn::Tensors& exact_weights_;
  at::ScalarType exact_;
  Heads heads_;
  bool drops_;
};

}  // namespace igebm::engine
