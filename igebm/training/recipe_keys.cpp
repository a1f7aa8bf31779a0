#include "igebm/training/recipe_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "igebm/io/recipe_keys.h"
#include "igebm/training/recipe.h"

namespace igebm::training {
namespace {

std::vector<io::KeySection> keys_of(Recipe recipe) {
  return io::list_keys([&](io::Fields& f) { describe(f, recipe); });
}

std::vector<io::Key> section_of(const Recipe& recipe, const std::string& name) {
  for (const io::KeySection& section : keys_of(recipe)) {
    if (section.name == name) return section.keys;
  }
  return {};
}

bool has(const std::vector<io::Key>& keys, const std::string& name) {
  return std::ranges::any_of(keys, [&](const io::Key& k) { return k.name == name; });
}

/// The keys that every kind of network has, then those of each kind.
std::string network_keys() {
  const std::vector<io::Key> usual = section_of({}, "network");
  const auto kind = std::ranges::find_if(usual, [](const io::Key& k) { return k.name == "kind"; });
  std::vector<std::vector<io::Key>> of_kinds;
  for (const std::string& name : kind->choices) {
    Recipe recipe;
    recipe.network.kind = name;
    of_kinds.push_back(section_of(recipe, "network"));
  }
  const auto is_common = [&](const io::Key& k) {
    return std::ranges::all_of(of_kinds, [&](const std::vector<io::Key>& keys) { return has(keys, k.name); });
  };
  std::vector<io::Key> common;
  std::ranges::copy_if(usual, std::back_inserter(common), is_common);
  std::string text = io::markdown(common);
  for (std::size_t i = 0; i < of_kinds.size(); ++i) {
    std::vector<io::Key> own;
    std::ranges::copy_if(of_kinds[i], std::back_inserter(own), [&](const io::Key& k) { return !is_common(k); });
    text += fmt::format("\n### With `kind = \"{}\"`\n\n{}", kind->choices[i], io::markdown(own));
  }
  return text;
}

std::string annealed_keys() {
  Recipe recipe;
  recipe.network.noise_features = 2;
  return "\n### Of a network with `noise_features`\n\nInstead of the keys above:\n\n" +
         io::markdown(section_of(recipe, "sampling"));
}

}  // namespace

std::string recipe_keys() {
  std::string text =
      "# Keys of a recipe\n\n"
      "Printed by `igebm train --keys` from the description that reads recipes; a test compares this page with it.\n"
      "[recipes.md](recipes.md) explains how the parts work together.\n\n"
      "A number without a bound here must still fit 32 bits (up to 3.4e38) where the program computes in float32.\n";
  const std::string phase = "phase.train";  // the default recipe's only one
  for (const io::KeySection& section : keys_of({})) {
    const bool in_phase = section.name.starts_with(phase);
    const std::string name = in_phase ? "phase.NAME" + section.name.substr(phase.size()) : section.name;
    text +=
        fmt::format("\n## `[{}]`\n\n{}", name, section.name == "network" ? network_keys() : io::markdown(section.keys));
    if (section.name == "sampling") text += annealed_keys();
  }
  return text;
}

}  // namespace igebm::training
