#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace igebm::io {

/// NumPy's npz: a zip of .npy members. Types: float64, float32, int64, int32, uint8, bool; C order. Written atomically,
/// members stored uncompressed; each must be below 4 GiB.
void write_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays);

/// Stored and deflated members. Throws UserError naming file and member where it is truncated, damaged or of another
/// kind.
std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path);

}  // namespace igebm::io
