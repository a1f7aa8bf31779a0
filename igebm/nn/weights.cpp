#include "igebm/nn/weights.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "igebm/base/error.h"

namespace igebm::nn {

const at::Tensor& get(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw UserError(fmt::format("network: no tensor named \"{}\"", name));
  return found->second;
}

at::Tensor matrix(const at::Tensor& weight) { return weight.reshape({weight.size(0), -1}); }

Shapes parameter_shapes(const Graph& graph) {
  shapes(graph);  // throws where they do not fit together
  Shapes all;
  for (const Node& n : graph.nodes) {
    for (const Parameter& p : operation(n.op).parameters(n)) all[n.name + "." + p.name] = p.shape;
  }
  return all;
}

Shapes buffer_shapes(const Graph& graph) {
  Shapes all;
  for (const Node& n : graph.nodes) {
    const auto parameters = operation(n.op).parameters(n);
    if (parameters.empty() || n.norm == Norm::none) continue;
    const Shape& shape = parameters[0].shape;
    all[n.name + ".weight.u"] = {shape[0]};
    all[n.name + ".weight.v"] = {c10::multiply_integers(shape.begin() + 1, shape.end())};
  }
  return all;
}

std::int64_t parameter_count(const Graph& graph) {
  std::int64_t count = 0;
  for (const auto& [_, shape] : parameter_shapes(graph)) count += c10::multiply_integers(shape);
  return count;
}

std::string in_words(const Graph& graph) {
  const Conditioning on = conditioning(graph);
  return fmt::format("{} parameters, input ({}), {}{}", parameter_count(graph), fmt::join(graph.input_shape, ", "),
                     on.classes > 0      ? fmt::format("{} classes", on.classes)
                     : on.conditions > 0 ? fmt::format("{} conditions", on.conditions)
                                         : "no labels",
                     on.noise_features > 0 ? ", noise levels" : "");
}

EffectiveWeights effective_weights(const Graph& graph, const Tensors& parameters, const Tensors& buffers) {
  EffectiveWeights out(parameters);
  for (const Node& n : graph.nodes) {
    if (n.norm == Norm::none) continue;
    const std::string name = n.name + ".weight";
    const at::Tensor& w = get(parameters, name);
    // s = u'Wv, differentiable in W with u and v held.
    const at::Tensor s = at::dot(get(buffers, name + ".u"), at::mv(matrix(w), get(buffers, name + ".v")));
    // W / s * min(s, 1) is W itself below norm 1: tiny weights then stay tiny.
    out[name] = n.norm == Norm::spectral ? w / (s + 1e-12) : w / at::clamp_min(s, 1);
  }
  return out;
}

}  // namespace igebm::nn
