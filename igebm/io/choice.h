#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>
#include <string>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/recipe.h"

/// Choices as enums, each with one table of the names that recipes, files and help call them by.
namespace igebm::io {

template <class Enum>
struct Named {
  Enum value;
  const char* name;
};

/// Every value's name; the table has them all.
template <class Enum>
const char* name_of(std::span<const Named<Enum>> names, Enum value) {
  for (const auto& named : names) {
    if (named.value == value) return named.name;
  }
  return "";
}

template <class Enum>
std::vector<std::string> all_names(std::span<const Named<Enum>> names) {
  std::vector<std::string> all;
  for (const auto& named : names) all.emplace_back(named.name);
  return all;
}

/// Throws UserError that names `what` and the known names.
template <class Enum>
Enum value_of(std::span<const Named<Enum>> names, const std::string& name, const std::string& what) {
  for (const auto& named : names) {
    if (named.name == name) return named.value;
  }
  throw UserError(fmt::format("{}: expected one of {}, got \"{}\"", what, fmt::join(all_names(names), ", "), name));
}

/// A field of a recipe that is one of the table's names.
template <class Enum>
void choice(Fields& fields, const char* key, Enum& value, std::span<const Named<Enum>> names, const char* doc) {
  std::string name = name_of(names, value);
  fields.field(key, name, all_names(names), doc);
  value = value_of(names, name, key);
}

}  // namespace igebm::io
