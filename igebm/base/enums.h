#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "igebm/base/error.h"

/// Closed choices: an enum and one table of its names, which recipes, help and errors all use. The enum's values count
/// from 0 in the table's order; beside it stands
///   constexpr const auto& names_of(Enum) { return table; }
namespace igebm {

template <class Enum>
concept NamedEnum = std::is_enum_v<Enum> && requires(Enum e) {
  names_of(e).size();
};

/// Throws UserError for a value that is not one of the enum's.
template <NamedEnum Enum>
std::string name_of(Enum value) {
  const auto place = static_cast<std::size_t>(value);
  if (place >= names_of(value).size())
    throw UserError("a choice whose value " + std::to_string(place) + " stands for nothing");
  return std::string(names_of(value)[place]);
}

/// The value of that name, or nothing.
template <NamedEnum Enum>
std::optional<Enum> value_of(std::string_view name) {
  const auto& names = names_of(Enum{});
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return {};
}

/// In the table's order.
template <NamedEnum Enum>
std::vector<std::string> all_names() {
  const auto& names = names_of(Enum{});
  return {names.begin(), names.end()};
}

}  // namespace igebm
