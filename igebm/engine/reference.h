#pragma once

#include <string>

#include "igebm/engine/engine.h"

namespace igebm::engine {

/// Every network by autograd: what the fast engines are measured against, and what they fall back to, `why`.
std::shared_ptr<Prepared> reference(const nn::Graph& graph, const nn::Tensors& effective_weights, std::string why = {});

}  // namespace igebm::engine
