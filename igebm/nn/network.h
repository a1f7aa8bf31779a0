#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "igebm/energy/energy.h"
#include "igebm/nn/graph.h"

namespace igebm::nn {

using Tensors = std::map<std::string, at::Tensor>;  // by name, in order of name

/// The weights that a graph computes with: parameters with spectral norm applied (nn/weights.h). A type of its own, so
/// that parameters as they are trained cannot be taken for them.
struct EffectiveWeights : Tensors {
  EffectiveWeights() = default;
  explicit EffectiveWeights(Tensors tensors) : Tensors(std::move(tensors)) {}
};

/// into[name] += t, from nothing at first.
void add_to(Tensors& into, const std::string& name, const at::Tensor& t);

/// Adds d(sum of pull * output)/d(leaf) to `into` by the leaves' names; a leaf that output does not depend on is left
/// out.
void add_gradients(const at::Tensor& output, const at::Tensor& pull, const Tensors& leaves, Tensors& into);

/// A trainable network: a graph, its parameters and spectral norm's buffers.
class Network {
 public:
  /// Parameters start as the graph says, from random numbers of `seed`.
  Network(Graph graph, std::uint64_t seed);

  const Graph& graph() const { return graph_; }
  Tensors& parameters() { return parameters_; }  ///< leaves that require gradients
  const Tensors& parameters() const { return parameters_; }
  Tensors& buffers() { return buffers_; }  ///< "<name>.u" (out), "<name>.v" (in k k) of each normalised weight
  const Tensors& buffers() const { return buffers_; }
  std::int64_t parameter_count() const;

  /// One power iteration on every normalised weight. Once a parameter step, never during sampling.
  void advance_spectral_norm();

  /// The weights in use: parameters with spectral norm applied, differentiable in the parameters.
  EffectiveWeights effective_weights() const { return effective_weights(parameters_); }
  /// The same for other parameters of the same names (an average of weights), with this network's u and v.
  EffectiveWeights effective_weights(const Tensors& parameters) const;

 private:
  Graph graph_;
  Tensors parameters_, buffers_;
};

/// Pictures with so many more rows and columns of zeros at their end (Node::padding_end); without those if negative.
at::Tensor padded_at_end(const at::Tensor& x, std::int64_t more);

/// Where dropout's random numbers come from: a function of these, of the node and of an input's place in the batch.
struct Dropout {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
};

/// E(x) of `graph`, or a classifier's logits, with `weights` (effective ones). labels: see Graph. Differentiable in x
/// and weights, twice. With `dropout` as in training, without it dropout passes its input on.
at::Tensor evaluate(const Graph& graph, const EffectiveWeights& weights, const at::Tensor& x,
                    const at::Tensor& labels = {}, const Dropout* dropout = nullptr);

}  // namespace igebm::nn
