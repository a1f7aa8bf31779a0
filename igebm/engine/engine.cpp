#include "igebm/engine/engine.h"

#include <ATen/ATen.h>

#include "igebm/engine/cpu/cpu.h"
#include "igebm/engine/reference.h"
#include "igebm/engine/tensors.h"

namespace igebm::engine {
namespace {

nn::EffectiveWeights moved(const nn::EffectiveWeights& weights, c10::Device device) {
  nn::EffectiveWeights out;
  for (const auto& [name, w] : weights) out[name] = w.to(device);
  return out;
}

}  // namespace

std::shared_ptr<Prepared> prepare(const nn::Graph& graph, const nn::EffectiveWeights& effective_weights,
                                  const Options& options) {
  if (options.engine == Kind::reference || graph.outputs > 0)
    return reference(graph, moved(effective_weights, options.device));
  if (!options.device.is_cpu()) {
    return tensor_engine(graph, effective_weights, options.device,
                         options.precision == Precision::f32 ? c10::ScalarType::Float : c10::ScalarType::BFloat16);
  }
  std::string why;
  if (auto fast = cpu_engine(graph, effective_weights, options, why)) return fast;
  return reference(graph, effective_weights, "the fast engine does not know " + why);
}

}  // namespace igebm::engine
