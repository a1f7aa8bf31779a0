#pragma once

#include "igebm/io/recipe.h"
#include "igebm/sampling/sampler.h"

/// The options of sampling as recipes have them: key, range and meaning of each.
namespace igebm::sampling {

void describe(io::Fields& fields, LangevinOptions& options);
void describe(io::Fields& fields, FlowOptions& options);
void describe(io::Fields& fields, StartOptions& options);

/// Those of [sampling], `annealed` where the energy takes a noise level.
void describe(io::Fields& fields, SamplerOptions& options, bool annealed);

}  // namespace igebm::sampling
