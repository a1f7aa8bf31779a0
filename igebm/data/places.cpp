#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "igebm/base/error.h"
#include "igebm/data/data.h"
#include "igebm/data/fetch.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The file in this very folder, empty if it is not there.
fs::path in_folder(const Set& set, const fs::path& folder, const std::string& file) {
  std::error_code ignored;
  for (const char* ending : set.endings) {
    const fs::path path = folder / (file + ending);
    if (fs::exists(path, ignored)) return path;
  }
  return {};
}

}  // namespace

const Set& find_set(const std::string& name) {
  std::vector<std::string> names;
  for (const Set& set : sets()) {
    if (name == set.name) return set;
    names.emplace_back(set.name);
  }
  const std::string meant = io::did_you_mean(name, names);
  throw UserError(
      fmt::format("data.name: unknown data set \"{}\"{}", name, meant.empty() ? "; see igebm data list" : meant));
}

std::string find_variant(const Set& set, const std::string& variant) {
  if (variant.empty()) return set.variants.empty() ? "" : set.variants.front();
  if (set.variants.empty())
    throw UserError(fmt::format("data.variant: {} has no variants, got \"{}\"", set.name, variant));
  if (std::find(set.variants.begin(), set.variants.end(), variant) == set.variants.end())
    throw UserError(fmt::format("data.variant: expected one of \"{}\" for {}, got \"{}\"",
                                fmt::join(set.variants, "\", \""), set.name, variant));
  return variant;
}

std::vector<fs::path> places(const Set& set, const std::string& path) {
  if (!path.empty()) return {path};
  std::vector<fs::path> all;
  if (set.files.empty()) return all;
  if (const auto own = environment("IGEBM_DATA"); !own.empty()) all.push_back(fs::path(own) / set.name);
  if (const auto xdg = environment("XDG_DATA_HOME"); !xdg.empty()) {
    all.push_back(fs::path(xdg) / "igebm" / set.name);
  } else if (const auto home = environment("HOME"); !home.empty()) {
    all.push_back(fs::path(home) / ".local/share/igebm" / set.name);
  }
  if (*set.usual != '\0') all.emplace_back(set.usual);
  return all;
}

fs::path fetch_folder(const Set& set) {
  const auto all = places(set, "");
  if (all.empty()) throw UserError("HOME is not set: say where to with --to FOLDER");
  return all.front();
}

fs::path find_folder(const Set& set, const std::string& path) {
  for (const fs::path& place : places(set, path)) {
    std::vector<fs::path> folders = {place};
    for (const char* name : set.subfolders) folders.push_back(place / name);
    for (const fs::path& folder : folders) {
      for (const auto& whole : set.files) {
        for (const std::string& file : whole) {
          if (!in_folder(set, folder, file).empty()) return folder;
        }
      }
    }
  }
  return {};
}

fs::path find_file(const Set& set, const fs::path& folder, const std::string& file) {
  std::vector<fs::path> folders = {folder};
  for (const char* name : set.subfolders) folders.insert(folders.end(), {folder / name, folder.parent_path() / name});
  for (const fs::path& one : folders) {
    if (const fs::path path = in_folder(set, one, file); !path.empty()) return path;
  }
  return {};
}

std::vector<std::string> missing_files(const Set& set, const fs::path& folder) {
  std::vector<std::string> least;
  for (const auto& whole : set.files) {
    std::vector<std::string> missing;
    for (const std::string& file : whole) {
      if (find_file(set, folder, file).empty()) missing.push_back(file);
    }
    if (missing.empty()) return {};
    if (least.empty() || missing.size() < least.size()) least = missing;
  }
  return least;
}

}  // namespace igebm::data
