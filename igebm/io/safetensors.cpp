#include "igebm/io/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::io {
namespace {

const std::vector<std::pair<const char*, at::ScalarType>> safetensors_types = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<at::Tensor> contiguous;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto type = std::find_if(safetensors_types.begin(), safetensors_types.end(),
                                   [scalar = tensor.scalar_type()](const auto& t) { return t.second == scalar; });
    if (type == safetensors_types.end())
      throw UserError(fmt::format("{}: tensor \"{}\" has a type that safetensors lack", path.string(), name));
    contiguous.push_back(tensor.detach().cpu().contiguous());
    const std::size_t end = offset + contiguous.back().nbytes();
    header[name] = {{"dtype", type->first}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes.reserve(8 + text.size() + offset);
  bytes += text;
  for (const auto& tensor : contiguous)
    bytes.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  write_atomically(path, bytes);
}

SafeTensors read_safetensors(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& what) -> UserError {
    return UserError(fmt::format("{}: {}", path.string(), what));
  };
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  if (bytes.size() < 8) throw fail("not a safetensors file: shorter than 8 bytes");
  std::memcpy(&length, bytes.data(), 8);
  constexpr std::uint64_t longest_header = 100'000'000;  // as the format has it
  if (length > longest_header) throw fail("not a safetensors file");
  if (length > bytes.size() - 8) {
    throw fail(fmt::format("truncated or not a safetensors file: a header of {} bytes is promised, {} follow", length,
                           bytes.size() - 8));
  }
  const char* data = bytes.data() + 8 + length;
  const std::size_t size = bytes.size() - 8 - length;
  SafeTensors out;
  try {
    const auto header = nlohmann::json::parse(bytes.data() + 8, data);
    if (!header.is_object()) throw fail("not a safetensors file: its header is no JSON object");
    std::vector<std::pair<std::size_t, std::size_t>> spans;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        out.metadata = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      const auto dtype = entry.at("dtype").get<std::string>();
      const auto type = std::find_if(safetensors_types.begin(), safetensors_types.end(),
                                     [&](const auto& t) { return dtype == t.first; });
      if (type == safetensors_types.end())
        throw fail(fmt::format("tensor \"{}\" has the unknown type {}", name, dtype));
      const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
      const auto offsets = entry.at("data_offsets").get<std::vector<std::size_t>>();
      std::size_t expected = at::elementSize(type->second);
      for (const auto d : shape) {
        if (d < 0 || (d > 0 && expected > bytes.size() / static_cast<std::size_t>(d) + 1))
          throw fail(fmt::format("tensor \"{}\" is larger than the file", name));
        expected *= static_cast<std::size_t>(d);
      }
      if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] - offsets[0] != expected) {
        throw fail(fmt::format("tensor \"{}\": its offsets do not fit its shape and type", name));
      }
      if (offsets[1] > size) {
        throw fail(fmt::format("truncated: tensor \"{}\" ends at byte {} of the data, the file has {}", name,
                               offsets[1], size));
      }
      spans.emplace_back(offsets[0], offsets[1]);
      at::Tensor tensor = at::empty(shape, type->second);
      if (expected > 0) std::memcpy(tensor.data_ptr(), data + offsets[0], expected);
      out.tensors[name] = tensor;
    }
    std::sort(spans.begin(), spans.end());
    std::size_t end = 0;
    for (const auto& [first, last] : spans) {
      if (first != end) throw fail("tensors overlap or leave gaps");
      end = last;
    }
    if (end != size) throw fail(fmt::format("{} bytes of data are promised, the file has {}", end, size));
  } catch (const nlohmann::json::exception& e) {
    throw fail(fmt::format("not a safetensors file: {}", e.what()));
  }
  return out;
}

}  // namespace igebm::io
