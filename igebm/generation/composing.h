#pragma once

#include <cstdint>
#include <string>

#include "igebm/generation/composite.h"

/// How a composition is drawn from where nothing else is said.
namespace igebm::generation {

/// What moves its chains. Left out is what follows from what the composition is of.
struct ComposingOptions {
  std::string correct;      ///< "ula", "mala" or "hmc" at each noise level, or "none"; empty: mala in the plane, or ula
  std::int64_t moves = 0;   ///< of it at each level; 0: 10 in the plane, 4 of pictures
  std::int64_t levels = 0;  ///< 0: 60 in the plane, of pictures the first model's
  double step_share = 0;    ///< AnnealingOptions::step_share; 0: the first model's, or exact_share
};

/// Does it hold an "or" or a "without"? Its energies are compared, for which they have to be in single precision.
bool has_mixture(const Expression& expression);

/// Does it take anything away by "!"?
bool has_negation(const Expression& expression);

/// The same with nothing left out. In the plane gradients cost little, and exact kernels leave no error of theirs; of
/// pictures they take steps too short.
ComposingOptions with_defaults(ComposingOptions options, const Composite& composite);

/// Throws UserError for what energies without noise levels do not have.
sampling::SamplerOptions sampler_of(const ComposingOptions& options, const Composite& composite);

}  // namespace igebm::generation
