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

Matched Prepared::match(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& target,
                        const at::Tensor& coefficients, nn::Tensors& into, const Motion* motion) {
  if (motion != nullptr) return {};  // an engine that has joint tangents says how
  const auto along = tangent(x, labels);
  if (!along) return {};
  std::vector<std::int64_t> column(static_cast<std::size_t>(x.dim()), 1);
  column[0] = x.size(0);
  along->pull(coefficients.reshape(column) * (along->gradient - target), into);
  return {along->gradient, {}};
}

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
