#include "igebm/model/shipped.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <system_error>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/recipe.h"

namespace igebm::model {
namespace {

namespace fs = std::filesystem;

/// The first paragraph after the title.
std::string about(const fs::path& card) {
  if (!fs::is_regular_file(card)) return {};
  std::istringstream lines(io::read_file(card));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() && !text.empty()) break;
    if (!line.empty() && line[0] != '#') text += (text.empty() ? "" : " ") + line;
  }
  return text;
}

}  // namespace

std::vector<fs::path> model_places() {
  std::vector<fs::path> places;
  if (const char* named = std::getenv("IGEBM_MODELS"); named != nullptr && *named != '\0') places.emplace_back(named);
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  if (!unknown) places.push_back((program.parent_path() / "../share/igebm/models").lexically_normal());
  places.emplace_back(IGEBM_SOURCE_MODELS);
  return places;
}

std::vector<Shipped> shipped_models() {
  std::vector<Shipped> all;
  for (const fs::path& place : model_places()) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(place, none)) {
      const std::string name = entry.path().filename();
      const bool is_model = fs::exists(entry.path() / "network.safetensors", none) &&
                            fs::exists(entry.path() / "recipe.toml", none) &&
                            std::ranges::none_of(all, [&](const Shipped& m) { return m.name == name; });
      if (is_model) all.push_back({name, entry.path(), about(entry.path() / "README.md")});
    }
  }
  std::ranges::sort(all, {}, &Shipped::name);
  return all;
}

fs::path find_model(const std::string& what) {
  std::error_code unknown;
  if (fs::exists(what, unknown)) return what;
  std::vector<std::string> names;
  for (const Shipped& model : shipped_models()) {
    if (model.name == what) return model.folder;
    names.push_back(model.name);
  }
  if (const std::string meant = io::did_you_mean(what, names); !meant.empty())
    throw UserError(fmt::format("{}: no such file or folder, nor a model's name{}", what, meant));
  return what;
}

}  // namespace igebm::model
