#pragma once

#include <string>

namespace igebm::training {

/// Every key of a recipe with type, default, allowed values and meaning, in Markdown: docs/recipe-keys.md.
std::string recipe_keys();

}  // namespace igebm::training
