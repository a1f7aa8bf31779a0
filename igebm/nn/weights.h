#pragma once

#include <map>
#include <string>

#include "igebm/nn/network.h"

/// What a graph asks of tensors, and the weights that it computes with.
namespace igebm::nn {

/// The tensor of that name. Throws UserError.
const at::Tensor& get(const Tensors& tensors, const std::string& name);

/// A weight as the (out) x (in k k) matrix that spectral norm is of.
at::Tensor matrix(const at::Tensor& weight);

using Shapes = std::map<std::string, Shape>;

/// By name, as Network::parameters() and Network::buffers() have them.
Shapes parameter_shapes(const Graph& graph);
Shapes buffer_shapes(const Graph& graph);

/// Numbers in all parameters together.
std::int64_t parameter_count(const Graph& graph);
/// "294501 parameters, input (1, 28, 28), 10 classes, noise levels".
std::string in_words(const Graph& graph);

/// The weights in use: parameters with spectral norm applied by its buffers u and v, differentiable in the parameters.
EffectiveWeights effective_weights(const Graph& graph, const Tensors& parameters, const Tensors& buffers);

}  // namespace igebm::nn
