#pragma once

#include "igebm/engine/engine.h"

namespace igebm::engine {

/// The CPU engine; null, with `why`, for a network that it does not know.
std::shared_ptr<Prepared> cpu_engine(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                     const Options& options, std::string& why);

}  // namespace igebm::engine
