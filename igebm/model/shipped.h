#pragma once

#include <filesystem>
#include <string>
#include <vector>

/// Models by name: those that come with igebm, and others kept in the same way. Each is a folder with the averaged
/// weights of a run (network.safetensors), its recipe (recipe.toml) and a card in words (README.md).
namespace igebm::model {

struct Shipped {
  std::string name;  ///< its folder's
  std::filesystem::path folder;
  std::string about;  ///< the first paragraph of its card, in one line; empty where it has none
};

/// Where they are looked for, in this order: $IGEBM_MODELS if set, beside the program as installed
/// (../share/igebm/models), and in the sources that it was built from.
std::vector<std::filesystem::path> model_places();

/// All there are, by name; of two of one name the first found.
std::vector<Shipped> shipped_models();

/// What a user calls a model, as a path: itself where such a file or folder exists; the folder of a model of that name;
/// and itself otherwise, for others to refuse. Throws UserError where it is nearly a model's name.
std::filesystem::path find_model(const std::string& what);

}  // namespace igebm::model
