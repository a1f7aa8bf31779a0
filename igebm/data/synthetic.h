#pragma once

#include "igebm/data/data.h"

namespace igebm::data {

/// `count` points of a 2-D set, with labels where its parts are apart. Record i is a function of (seed, i).
/// Names: two-moons, eight-gaussians, rings, checkerboard, swiss-roll, pinwheel.
Dataset synthetic(const std::string& name, std::int64_t count, double noise, std::uint64_t seed);

}  // namespace igebm::data
