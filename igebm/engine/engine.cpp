#include "igebm/engine/engine.h"

#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/engine/cpu/cpu.h"
#include "igebm/engine/reference.h"

namespace igebm::engine {

std::shared_ptr<Prepared> prepare(const nn::Graph& graph, const nn::Tensors& effective_weights,
                                  const Options& options) {
  if (options.engine == "reference" || graph.outputs > 0) return reference(graph, effective_weights);
  if (options.engine != "fast")
    throw UserError(fmt::format("engine: expected \"fast\" or \"reference\", got \"{}\"", options.engine));
  std::string why;
  if (auto fast = cpu_engine(graph, effective_weights, options, why)) return fast;
  return reference(graph, effective_weights, "the fast engine does not know " + why);
}

}  // namespace igebm::engine
