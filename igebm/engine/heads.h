#pragma once

#include <ATen/ATen.h>

#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include "igebm/nn/network.h"

namespace igebm::engine {

constexpr const char* backend = "engine on tensors";  ///< as messages name it

/// What the gradient needs of a step beside the values.
struct Kept {
  at::Tensor input;             // of a convolution, in its type
  at::Tensor share;             // of attention: (N, queries, keys), exact
  at::Tensor before;            // the value before the activation, or after it (Step::keeps_after)
  at::Tensor mean, reciprocal;  // of a group norm
  at::Tensor gradient;          // of the value before the activation, where weights' gradients are to follow
};

/// Gradients of a value from its users, added up as late as possible: two are added in the pass that takes them.
class Sums {
 public:
  explicit Sums(std::size_t count) : terms_(count) {}
  void add(int node, const at::Tensor& gradient) {
    auto& [first, second] = terms_[static_cast<std::size_t>(node)];
    if (!first.defined()) {
      first = gradient;
    } else if (!second.defined()) {
      second = gradient;
    } else {
      first = first + second;
      second = gradient;
    }
  }
  const std::pair<at::Tensor, at::Tensor>& terms(int node) const { return terms_[static_cast<std::size_t>(node)]; }
  at::Tensor total(int node) const {
    const auto& [first, second] = terms(node);
    return second.defined() ? first + second : first;
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> terms_;
};

/// Operations that stand at the head of a step (steps.h), in tensor operations of any device: values, and by hand the
/// gradients of their inputs. A switch over all operations each; one without a case is refused, by name.
class Heads {
 public:
  /// All are kept by reference. packed: the weights that are multiplied in `compute`; the rest are `exact`'s.
  Heads(const nn::Graph& graph, const nn::Tensors& exact, const nn::Tensors& packed, at::ScalarType compute,
        at::ScalarType exact_type)
      : graph_(graph), exact_weights_(exact), packed_(packed), compute_(compute), exact_(exact_type) {}

  /// `in`: the first input; values: of all nodes so far.
  at::Tensor value(const nn::Node& n, const at::Tensor& in, const at::Tensor& labels,
                   const std::vector<at::Tensor>& values, Kept& kept) const;
  /// Adds what dE/d(value) = g gives to the sums of the inputs.
  void gradient(const nn::Node& n, const at::Tensor& in, const at::Tensor& g, const std::vector<at::Tensor>& values,
                const Kept& kept, Sums& sums) const;

  /// The derivative of the value along `dots`, those of the values so far; `dot` that of the first input, labels_dot
  /// that of the labels, undefined for 0. kept: of value().
  at::Tensor tangent(const nn::Node& n, const at::Tensor& dot, const at::Tensor& labels, const at::Tensor& labels_dot,
                     const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& dots, const Kept& kept,
                     Kept& kept_dot) const;
  /// Adds to `sums` the derivatives of what gradient() adds to its own: g that of the value, g_dot its derivative,
  /// undefined for 0.
  void gradient_tangent(const nn::Node& n, const at::Tensor& g, const at::Tensor& g_dot,
                        const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& dots, const Kept& kept,
                        const Kept& kept_dot, Sums& sums) const;
  /// What dE/d(value) = g gives the weight of a convolution (in: Kept::input) or layer, exact.
  at::Tensor weight_gradient(const nn::Node& n, const at::Tensor& in, const at::Tensor& g) const;

 private:
  /// A picture's pixels one after another, (N, H W, C); of channels-last pictures a view. And back.
  static at::Tensor tokens(const at::Tensor& picture);
  static at::Tensor picture(const at::Tensor& tokens, const at::Tensor& like);
  /// Of attention's scores.
  static double score_scale(const at::Tensor& queries);
  /// a b, multiplied in `compute`.
  at::Tensor product_of(const at::Tensor& a, const at::Tensor& b) const;
  /// Labels as planes beside a picture: one-hot, or the numbers.
  at::Tensor planes(const at::Tensor& labels, const at::Tensor& beside) const;
  const at::Tensor& layer(const nn::Node& n) const;
  /// dE/d(input) of average pooling.
  static at::Tensor of_pool(const nn::Node& n, const at::Tensor& g, const at::Tensor& in);
  /// Of a convolution, those wanted of dE/d(input), padded at its end as Kept::input is, dE/d(weight) and dE/d(bias).
  std::tuple<at::Tensor, at::Tensor, at::Tensor> of_convolution(const nn::Node& n, const at::Tensor& g,
                                                                const at::Tensor& input,
                                                                std::array<bool, 3> wanted) const;
  /// dE/d(queries), dE/d(keys) and dE/d(values) of attention.
  std::array<at::Tensor, 3> of_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& all,
                                         const at::Tensor& g, const at::Tensor& share) const;

  const nn::Graph& graph_;
  const nn::Tensors &exact_weights_, &packed_;
  at::ScalarType compute_, exact_;
};

}  // namespace igebm::engine
