#include "igebm/generation/composing.h"

#include <algorithm>

#include "igebm/base/error.h"
#include "igebm/sampling/budget.h"
#include "igebm/sampling/registry.h"

namespace igebm::generation {

bool has_mixture(const Expression& expression) {
  return expression.kind == Expression::Kind::disjunction || expression.kind == Expression::Kind::difference ||
         std::ranges::any_of(expression.parts, has_mixture);
}

bool has_negation(const Expression& expression) {
  return expression.negated || std::ranges::any_of(expression.parts, has_negation);
}

ComposingOptions with_defaults(ComposingOptions options, const Composite& composite) {
  if (!composite.range()) return options;
  const bool points = composite.space().kind == model::SampleSpace::Kind::points;
  if (options.correct.empty()) options.correct = points ? "mala" : "ula";
  if (options.moves == 0) options.moves = points ? 10 : 4;
  // The way from level to level is exact for short ones alone: at half as many an "or" has shares that are 2 % off.
  if (options.levels == 0 && points) options.levels = 60;
  return options;
}

sampling::SamplerOptions sampler_of(const ComposingOptions& options, const Composite& composite) {
  sampling::SamplerOptions sampler = sampling::within_budget(composite.usual_sampler(), composite.range().has_value());
  sampler.ensemble = 1;
  if (composite.range()) {
    sampler.annealing.guidance = 1;
    sampler.steps = options.correct == "none" ? 0 : options.moves;
    const bool points = composite.space().kind == model::SampleSpace::Kind::points;
    if (options.levels > 0) sampler.annealing.levels = options.levels;
    if (points && sampling::compares_energies(options.correct)) sampler.annealing.step_share = sampling::exact_share;
    if (options.step_share > 0) sampler.annealing.step_share = options.step_share;
  } else {
    if (options.correct == "none")
      throw UserError("correct none: these energies take no noise levels, so that nothing else moves chains");
    if (options.levels > 0) throw UserError("levels: these energies take no noise levels");
    if (options.moves > 0) sampler.steps = options.moves;
  }
  if (!options.correct.empty())
    sampler.kernel = sampling::compares_energies(options.correct) ? options.correct : "langevin";
  return sampler;
}

}  // namespace igebm::generation
