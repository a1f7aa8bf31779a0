#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace igebm::io {

/// The safetensors format (github.com/huggingface/safetensors): 8 bytes little-endian header length, a JSON header of
/// dtype, shape and data_offsets by name, then the tensors' bytes. Types: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL.
struct SafeTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Atomic. Tensors may be of any layout; what is written is contiguous.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Throws UserError naming the file where it is truncated, foreign or inconsistent.
SafeTensors read_safetensors(const std::filesystem::path& path);

}  // namespace igebm::io
