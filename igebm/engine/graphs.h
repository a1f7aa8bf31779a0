#pragma once

#include "igebm/nn/graph.h"

/// What every engine asks of a graph.
namespace igebm::engine {

/// Has it dropout of a rate above 0?
bool has_dropout(const nn::Graph& graph);

/// The graph as it is sampled: dropout nodes, which pass their input on, left out.
nn::Graph without_dropout(const nn::Graph& graph);

/// Operations of a value and gradient of one input, by the table's cost (nn/operations.h): convolutions as done
/// directly.
double operations(const nn::Graph& graph);

}  // namespace igebm::engine
