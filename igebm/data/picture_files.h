#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace igebm::data {

/// The picture files of a split, with what was left out of it.
struct PictureFiles {
  std::vector<std::string> class_names;  ///< of the training split, in alphabetical order; empty: no classes
  std::vector<std::filesystem::path> files;
  std::vector<std::int64_t> labels;  ///< of each file; 0 where there are no classes
  std::vector<std::string> notes;    ///< what was left out, and why
};

/// Pictures in class folders: train/CLASS/ and test/CLASS/ under `path` (also training/ and testing/; val/, valid/ or
/// validation/ where there is no test/; in capitals or not), or CLASS/ alone, which then has no test split; or pictures
/// without classes directly in train/ and test/, or in `path`. A folder with a split's name is a class where it holds
/// pictures as other folders beside it do. Files by their endings (io::has_picture_name), in the sub-folders of a class
/// and in folders that links lead to as well, in alphabetical order, class by class; not what is hidden or what
/// operating systems put into folders. Throws UserError: no pictures, a class that training lacks, a folder that cannot
/// be read.
PictureFiles find_pictures(const std::filesystem::path& path, bool test);

}  // namespace igebm::data
