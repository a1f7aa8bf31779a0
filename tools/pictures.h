#pragma once

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

/// A picture's file as uint8 (1, C, H, W), fitted to `shape` (C, H, W) where that is square; else of its own size.
/// Throws UserError.
at::Tensor read_picture(const std::string& path, const std::vector<std::int64_t>& shape);

/// Pictures in [0, 1] of `shape`, as files, an npz, or records of the model's own data. Labels are defined where all of
/// them have some. Throws UserError.
evaluation::Records read_pictures(const std::vector<std::string>& what, const model::Model& model,
                                  const std::vector<std::int64_t>& shape);

}  // namespace igebm::tools
