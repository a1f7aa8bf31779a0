#pragma once

#include <string>

#include "igebm/engine/engine.h"

namespace igebm::engine {

/// Prepared::parameter_gradient by autograd.
at::Tensor parameter_gradient(const nn::Graph& graph, const nn::EffectiveWeights& weights, const at::Tensor& x,
                              const at::Tensor& labels, const at::Tensor& coefficients, const at::Tensor& slopes,
                              nn::Tensors& into, const nn::Dropout* dropout);

/// Every network by autograd: what the fast engines are measured against, and what they fall back to, `why`.
std::shared_ptr<Prepared> reference(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                    std::string why = {});

}  // namespace igebm::engine
