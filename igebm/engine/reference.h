#pragma once

#include "igebm/engine/engine.h"

namespace igebm::engine {

/// Every network by autograd: what the fast engines are measured against, and what they fall back to.
std::shared_ptr<Prepared> reference(const nn::Graph& graph, const nn::Tensors& effective_weights);

}  // namespace igebm::engine
