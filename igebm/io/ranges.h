#pragma once

#include <limits>

#include "igebm/io/recipe.h"

/// Ranges of options that many descriptions share.
namespace igebm::io::ranges {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr double greatest_float = std::numeric_limits<float>::max();  ///< of what becomes a float
inline constexpr Range any{-infinity, infinity};
inline constexpr Range any_float{-greatest_float, greatest_float};
inline constexpr Range share{0, 1};
inline constexpr Range positive{0, greatest_float, true};
inline constexpr Range not_negative{0, greatest_float};
inline constexpr Range count_from_one{1, 1e9};
inline constexpr Range count_from_zero{0, 1e9};

}  // namespace igebm::io::ranges
