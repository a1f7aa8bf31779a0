#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "igebm/evaluation/records.h"
#include "igebm/model/model.h"

/// Pictures that commands start from.
namespace igebm::tools {

/// "test:0-9" or "train:0-9", and not a file of that name.
bool names_records(const std::string& what);

/// Of the model's own data as its recipe has them, uint8 pictures or float points, with their numbers in the split.
struct OwnRecords {
  evaluation::Records records;
  std::vector<std::int64_t> rows;
};
/// REQUIRES: names_records(what). Throws UserError.
OwnRecords own_records(const std::string& what, const model::Model& model);

/// Picture files below a folder, in alphabetical order, at least one. `others`: how many files are none. Throws
/// UserError.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder, std::int64_t* others = nullptr);

/// Which files' pictures had another size than the model's, and were resized.
class Resized {
 public:
  void add(const std::string& path, std::int64_t height, std::int64_t width);
  /// One line on standard error, if there were such.
  void tell(const std::vector<std::int64_t>& shape) const;

 private:
  std::int64_t count_ = 0;
  std::string first_;
};

/// A picture's file as uint8 (1, C, H, W), `fitted` to `shape` (C, H, W) where that is square; else of its own size.
/// `resized` hears of it where it had another size. Throws UserError.
at::Tensor read_picture(const std::string& path, const std::vector<std::int64_t>& shape, bool fitted = true,
                        Resized* resized = nullptr);

/// Pictures in [0, 1] of `shape`, as files, folders of them, an npz, or records of the model's own data. Labels are
/// defined where all of them have some. Says on standard error which were resized. Throws UserError.
evaluation::Records read_pictures(const std::vector<std::string>& what, const model::Model& model,
                                  const std::vector<std::int64_t>& shape, bool fitted = true);

/// `out` must not be one of the files that are read. Throws UserError.
void check_not_input(const std::string& out, const std::vector<std::string>& inputs);

}  // namespace igebm::tools
