#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "igebm/engine/engine.h"

namespace igebm::engine {

/// Any network as a frozen energy in tensor operations of any device, with gradients derived by hand (no autograd).
/// Convolutions and layers work in `compute` (bfloat16, float or double), channels last; the state, sums, products over
/// pictures and layers to one number in float, or in double if `compute` is.
///
/// Its operations on inputs of one shape are always the same, on the same weights' memory, and never wait for the
/// device: they can be recorded (energy::Energy::recordings).
std::shared_ptr<Prepared> tensor_engine(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                        at::Device device, at::ScalarType compute);

}  // namespace igebm::engine
