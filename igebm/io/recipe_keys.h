#pragma once

#include <functional>
#include <string>
#include <vector>

#include "igebm/io/recipe.h"

/// The keys of a recipe as a reference for people, from the description that reads it.
namespace igebm::io {

struct Key {
  std::string name;
  std::string type;                  ///< "integer", "number", "text", "true or false", "integers", "texts"
  std::string usual;                 ///< the default, as in TOML
  std::string range;                 ///< "> 0", "[0, 1)", "any"; of texts empty
  std::vector<std::string> choices;  ///< of a text; empty: any
  std::string doc;
};

struct KeySection {
  std::string name;  ///< "phase.train.optimizer"
  std::vector<Key> keys;
};

/// Every section that `describe` visits, those that are described only where present among them, in its order.
std::vector<KeySection> list_keys(const std::function<void(Fields&)>& describe);

/// A table of them in Markdown: key, type, default, allowed values, meaning.
std::string markdown(const std::vector<Key>& keys);

}  // namespace igebm::io
