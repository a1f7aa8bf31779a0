#include "igebm/data/picture_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <system_error>
#include <tuple>
#include <utility>

#include "igebm/base/error.h"
#include "igebm/io/picture.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_one_of(const std::string& name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), lower(name)) != names.end();
}

bool is_hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

/// Folders that operating systems and storage put where pictures are.
bool is_systems(const fs::path& path) {
  return is_one_of(path.filename().string(),
                   {"lost+found", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"});
}

bool is_folder(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_directory(ignored);
}

std::vector<fs::directory_entry> entries_of(const fs::path& folder) {
  std::vector<fs::directory_entry> all;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) all.push_back(*it);
  if (error) throw UserError(fmt::format("{}: cannot be read: {}", folder.string(), error.message()));
  return all;
}

std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : entries_of(path)) {
    if (!is_hidden(entry) && !is_systems(entry) && is_folder(entry)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether pictures lie directly in it.
bool has_pictures(const fs::path& folder) {
  std::error_code unreadable;
  return std::any_of(fs::directory_iterator(folder, unreadable), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) {
                       return !is_hidden(entry) && io::has_picture_name(entry.path()) && !is_folder(entry);
                     });
}

bool is_flat(const fs::path& folder) { return folders_in(folder).empty() && has_pictures(folder); }

/// What is passed over, by reason.
class LeftOut {
 public:
  explicit LeftOut(fs::path folder) : folder_(std::move(folder)) {}
  void add(const std::string& what, const std::string& why) { ++counts_[{why, what}]; }
  void say(std::vector<std::string>& notes) const {
    std::vector<std::string> parts;
    for (const auto& [reason, count] : counts_)
      parts.push_back(fmt::format("{} {} ({})", count, reason.second, reason.first));
    if (!parts.empty()) notes.push_back(fmt::format("{}: left out: {}", folder_.string(), fmt::join(parts, ", ")));
  }

 private:
  fs::path folder_;
  std::map<std::pair<std::string, std::string>, std::int64_t> counts_;
};

/// Collects a folder's pictures with those of its sub-folders and of folders that links lead to.
class Search {
 public:
  Search(std::vector<fs::path>& files, LeftOut& left_out) : files_(files), left_out_(left_out) {}

  void folder(const fs::path& path) {
    for (const auto& entry : entries_of(path)) {
      if (is_folder(entry)) {
        sub_folder(path, entry);
      } else {
        file(entry);
      }
    }
  }

  void file(const fs::directory_entry& entry) {
    std::error_code error;
    const bool picture = io::has_picture_name(entry.path());
    if (is_hidden(entry)) {
      if (picture) left_out_.add("pictures", "hidden");
    } else if (!entry.is_regular_file(error)) {
      left_out_.add(entry.is_symlink(error) ? "links" : "entries", "no file, and no folder");
    } else if (!picture) {
      const std::string ending = lower(entry.path().extension().string());
      left_out_.add(ending.empty() ? "files without an ending" : ending, fmt::format("not {}", io::picture_kinds));
    } else {
      files_.push_back(entry.path());
    }
  }

 private:
  void sub_folder(const fs::path& above, const fs::directory_entry& entry) {
    std::error_code error;
    if (is_hidden(entry) || is_systems(entry)) {
      left_out_.add("folders", "hidden, or the system's own");
    } else if (!entry.is_symlink(error)) {
      folder(entry.path());
    } else {
      const fs::path target = fs::canonical(entry.path(), error);
      entered_.push_back(fs::canonical(above, error));
      // Within itself it would have no end.
      if (std::ranges::any_of(entered_, [&](const fs::path& from) { return is_within(from, target); })) {
        left_out_.add("links", "to a folder that they are in");
      } else {
        entered_.push_back(target);
        folder(entry.path());
        entered_.pop_back();
      }
      entered_.pop_back();
    }
  }

  static bool is_within(const fs::path& path, const fs::path& folder) {
    return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
  }

  std::vector<fs::path>& files_;
  LeftOut& left_out_;
  std::vector<fs::path> entered_;  // where the links that led here stand, and where they led to
};

/// Folders of the training and the test split; an empty path where there is none.
struct Splits {
  fs::path train, test;
};

/// The folders in `path` that are named as splits are, each role's in the order of preference, and the others.
struct Roles {
  std::vector<std::string> train, test, held_out, others;
};

Roles roles_in(const fs::path& path) {
  Roles roles;
  for (const std::string& name : folders_in(path)) {
    (is_one_of(name, {"train", "training"})            ? roles.train
     : is_one_of(name, {"test", "testing"})            ? roles.test
     : is_one_of(name, {"val", "valid", "validation"}) ? roles.held_out
                                                       : roles.others)
        .push_back(name);
  }
  for (auto* names : {&roles.train, &roles.test, &roles.held_out}) {  // as they are before capitals, short before long
    std::sort(names->begin(), names->end(), [](const std::string& a, const std::string& b) {
      return std::tuple(lower(a).size(), a != lower(a), a) < std::tuple(lower(b).size(), b != lower(b), b);
    });
  }
  return roles;
}

/// Folders with a split's name that hold pictures as folders of other names beside them do are classes.
bool are_classes(const fs::path& path, const Roles& roles) {
  const auto flat = [&](const std::string& name) { return is_flat(path / name); };
  return std::ranges::all_of(roles.train, flat) && std::ranges::all_of(roles.test, flat) &&
         std::ranges::all_of(roles.held_out, flat) && std::ranges::any_of(roles.others, flat);
}

Splits splits_of(const fs::path& path, std::vector<std::string>& notes) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    throw UserError(fmt::format("{}: {}", path.string(),
                                error && error != std::errc::no_such_file_or_directory
                                    ? "cannot be read: " + error.message()
                                    : "no such folder"));
  Roles roles = roles_in(path);
  if ((roles.train.empty() && roles.test.empty() && roles.held_out.empty()) || are_classes(path, roles))
    return {path, {}};
  Splits splits;
  if (!roles.train.empty()) splits.train = path / roles.train[0];
  std::vector<std::string> candidates = roles.test;
  candidates.insert(candidates.end(), roles.held_out.begin(), roles.held_out.end());
  const bool classes = !splits.train.empty() && !is_flat(splits.train);
  for (const std::string& name : candidates) {  // test pictures may have been published without their classes
    if (splits.test.empty() && !(classes && is_flat(path / name))) splits.test = path / name;
  }
  if (splits.test.empty() && !candidates.empty()) splits.test = path / candidates[0];
  std::vector<std::string> unused = roles.others;
  unused.insert(unused.end(), roles.train.begin(), roles.train.end());
  unused.insert(unused.end(), candidates.begin(), candidates.end());
  std::erase_if(unused, [&](const auto& name) { return path / name == splits.train || path / name == splits.test; });
  if (!unused.empty()) {
    const bool neither = splits.test.empty();
    notes.push_back(
        fmt::format("{}: left out: the folders {}; the splits are {}{}", path.string(), fmt::join(unused, ", "),
                    splits.train.empty() ? "" : splits.train.filename().string(),
                    neither ? "" : (splits.train.empty() ? "" : " and ") + splits.test.filename().string()));
  }
  return splits;
}

std::string no_pictures() { return fmt::format("expected pictures ({}) in it, got none", io::picture_kinds); }

void search_classes(const fs::path& folder, const fs::path& training, PictureFiles& found, LeftOut& left_out) {
  for (const std::string& name : folders_in(folder)) {
    const auto known = std::lower_bound(found.class_names.begin(), found.class_names.end(), name);
    if (known == found.class_names.end() || *known != name)
      throw UserError(fmt::format("{}: no such class in {}", (folder / name).string(), training.string()));
    const std::size_t first = found.files.size();
    Search(found.files, left_out).folder(folder / name);
    if (found.files.size() == first) throw UserError(fmt::format("{}: {}", (folder / name).string(), no_pictures()));
    std::sort(found.files.begin() + static_cast<std::ptrdiff_t>(first), found.files.end());
    found.labels.resize(found.files.size(), known - found.class_names.begin());
  }
  for (const auto& entry : entries_of(folder)) {
    if (!is_hidden(entry) && io::has_picture_name(entry.path()) && !is_folder(entry))
      left_out.add("pictures", "beside the folders of classes, in none of them");
  }
}

}  // namespace

PictureFiles find_pictures(const fs::path& path, bool test) {
  PictureFiles found;
  const Splits splits = splits_of(path, found.notes);
  const fs::path& folder = test ? splits.test : splits.train;
  if (folder.empty())
    throw UserError(fmt::format("{}: no {} there, so no {} split", path.string(),
                                test ? "test, val or validation folder" : "train folder", test ? "test" : "training"));
  const fs::path& training = splits.train.empty() ? folder : splits.train;
  LeftOut left_out(folder);
  if (!is_flat(training)) found.class_names = folders_in(training);
  if (found.class_names.empty()) {
    if (!has_pictures(training))
      throw UserError(fmt::format("{}: no folders of classes and no pictures in it; pictures are {}", training.string(),
                                  io::picture_kinds));
    if (!folders_in(folder).empty())
      throw UserError(fmt::format("{}: folders of classes, where the pictures of {} have none", folder.string(),
                                  training.string()));
    Search search(found.files, left_out);
    for (const auto& entry : entries_of(folder)) {
      if (!is_folder(entry)) search.file(entry);
    }
    std::sort(found.files.begin(), found.files.end());
    found.labels.resize(found.files.size());
  } else {
    if (is_flat(folder))  // as ImageNet's archive of validation pictures unpacks
      throw UserError(fmt::format("{}: pictures lie directly in it; expected a folder for each class, named as in {}",
                                  folder.string(), training.string()));
    search_classes(folder, training, found, left_out);
  }
  if (found.files.empty()) throw UserError(fmt::format("{}: {}", folder.string(), no_pictures()));
  left_out.say(found.notes);
  return found;
}

}  // namespace igebm::data
