#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// Points of a 2-D set, records `first` and on, with labels where its parts are apart. Record i is a function of
/// (seed, i). Names: two-moons, eight-gaussians, rings, checkerboard, swiss-roll, pinwheel; throws UserError on others.
Dataset synthetic(const std::string& name, std::int64_t count, double noise, std::uint64_t seed,
                  std::int64_t first = 0);

}  // namespace igebm::data
