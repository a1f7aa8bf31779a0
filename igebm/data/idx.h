#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace igebm::data {

/// LeCun's IDX format of unsigned bytes, plain or gzip: 0, 0, 8, the number of dimensions, each as four bytes
/// big-endian, then the data. Returns uint8 of that shape. Throws UserError with the file, the offset in
/// it as uncompressed, and what was expected.
at::Tensor read_idx(const std::filesystem::path& path);

/// `name`.gz or `name` in `folder`, whichever is there. Throws UserError with `hint` if neither.
std::filesystem::path find_idx(const std::filesystem::path& folder, const std::string& name, const std::string& hint);
bool has_idx(const std::filesystem::path& folder, const std::string& name);

}  // namespace igebm::data
