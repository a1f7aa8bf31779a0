#include "igebm/io/npz.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/files.h"

namespace igebm::io {
namespace {

const std::vector<std::pair<const char*, at::ScalarType>> types = {{"<f8", at::kDouble}, {"<f4", at::kFloat},
                                                                   {"<i8", at::kLong},   {"<i4", at::kInt},
                                                                   {"|u1", at::kByte},   {"|b1", at::kBool}};
const std::string magic("\x93NUMPY", 6);

template <typename T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian machines only, as LibTorch here
}

template <typename T>
T get(const std::string& from, std::size_t at) {
  T value{};
  if (at + sizeof value > from.size()) throw UserError("truncated");
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

std::uint32_t crc(const std::string& bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string encode(const at::Tensor& tensor, const std::string& name) {
  const at::Tensor t = tensor.detach().cpu().contiguous();
  const auto type =
      std::find_if(types.begin(), types.end(), [&](const auto& known) { return known.second == t.scalar_type(); });
  if (type == types.end()) throw UserError(fmt::format("array \"{}\" has a type that npz files of igebm lack", name));
  std::string shape;
  for (const auto d : t.sizes()) shape += fmt::format("{}, ", d);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type->first, shape);
  header.append(63 - (magic.size() + 4 + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = magic + std::string("\x01\x00", 2);
  put(bytes, static_cast<std::uint16_t>(header.size()));
  bytes += header;
  bytes.append(static_cast<const char*>(t.const_data_ptr()), t.nbytes());
  return bytes;
}

at::Tensor decode(const std::string& bytes) {
  if (!bytes.starts_with(magic)) throw UserError("not an .npy array");
  const bool wide = bytes.size() > 6 && bytes[6] >= 2;
  const std::size_t start = wide ? 12 : 10, length = wide ? get<std::uint32_t>(bytes, 8) : get<std::uint16_t>(bytes, 8);
  if (start + length > bytes.size()) throw UserError("truncated header");
  const std::string header = bytes.substr(start, length);
  const auto after = [&](const char* key) {
    const auto at = header.find(key);
    if (at == std::string::npos) throw UserError(fmt::format("its header lacks {}", key));
    return header.substr(header.find(':', at) + 1);
  };
  if (after("'fortran_order'").substr(0, 6).find("False") == std::string::npos)
    throw UserError("in Fortran order; expected C order");
  const std::string descr = after("'descr'");
  const auto type =
      std::find_if(types.begin(), types.end(), [&](const auto& known) { return descr.find(known.first) < 4; });
  if (type == types.end())
    throw UserError(fmt::format("of type{}; expected float64, float32, int64, int32, uint8 or bool",
                                descr.substr(0, descr.find(','))));
  std::vector<std::int64_t> shape;
  std::string sizes = after("'shape'");
  sizes = sizes.substr(sizes.find('(') + 1, sizes.find(')') - sizes.find('(') - 1);
  std::size_t expected = at::elementSize(type->second);
  for (std::size_t at = sizes.find_first_of("0123456789"); at != std::string::npos;
       at = sizes.find_first_of("0123456789", sizes.find(',', at))) {
    shape.push_back(std::strtoll(sizes.c_str() + at, nullptr, 10));
    if (shape.back() > 0 && expected > bytes.size() / static_cast<std::size_t>(shape.back()) + 1)
      throw UserError("truncated: its shape needs more bytes than there are");
    expected *= static_cast<std::size_t>(shape.back());
    if (sizes.find(',', at) == std::string::npos) break;
  }
  if (bytes.size() - start - length != expected) {
    throw UserError(fmt::format("of shape ({}) needs {} bytes, has {}", fmt::join(shape, ", "), expected,
                                bytes.size() - start - length));
  }
  at::Tensor tensor = at::empty(shape, type->second);
  if (expected > 0) std::memcpy(tensor.data_ptr(), bytes.data() + start + length, expected);
  return tensor;
}

std::string inflate_member(const std::string& compressed, std::size_t size) {
  std::string out(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw UserError("cannot be inflated");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.total_out == size;
  inflateEnd(&stream);
  if (!whole) throw UserError("its compressed data are damaged");
  return out;
}

}  // namespace

void write_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays) {
  std::string out, directory;
  for (const auto& [name, tensor] : arrays) {
    const std::string file = name + ".npy", bytes = encode(tensor, name);
    if (bytes.size() >= 0xFFFFFFFFU || out.size() >= 0xFFFFFFFFU - bytes.size())
      throw UserError(fmt::format("{}: beyond 4 GiB, which this npz writer does not do", path.string()));
    std::string common;  // shared by the local header and the directory entry
    put<std::uint16_t>(common, 20);
    put<std::uint16_t>(common, 0);
    put<std::uint16_t>(common, 0);
    put<std::uint32_t>(common, 0x00210000);  // 1 January 1980: the same arrays make the same file
    put<std::uint32_t>(common, crc(bytes));
    put(common, static_cast<std::uint32_t>(bytes.size()));
    put(common, static_cast<std::uint32_t>(bytes.size()));
    put(common, static_cast<std::uint16_t>(file.size()));
    put<std::uint16_t>(common, 0);
    put<std::uint32_t>(directory, 0x02014b50);
    put<std::uint16_t>(directory, 20);
    directory += common;
    put<std::uint16_t>(directory, 0);
    put<std::uint16_t>(directory, 0);
    put<std::uint16_t>(directory, 0);
    put<std::uint32_t>(directory, 0);
    put(directory, static_cast<std::uint32_t>(out.size()));
    directory += file;
    put<std::uint32_t>(out, 0x04034b50);
    out += common + file + bytes;
  }
  const auto start = static_cast<std::uint32_t>(out.size());
  out += directory;
  put<std::uint32_t>(out, 0x06054b50);
  put<std::uint32_t>(out, 0);
  put(out, static_cast<std::uint16_t>(arrays.size()));
  put(out, static_cast<std::uint16_t>(arrays.size()));
  put(out, static_cast<std::uint32_t>(directory.size()));
  put(out, start);
  put<std::uint16_t>(out, 0);
  write_atomically(path, out);
}

std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::map<std::string, at::Tensor> arrays;
  std::string member;
  try {
    const auto end = bytes.rfind(std::string("PK\x05\x06", 4));
    if (end == std::string::npos || end + 22 > bytes.size())
      throw UserError("not an npz file, or truncated: no zip directory at its end");
    const auto count = get<std::uint16_t>(bytes, end + 10);
    std::size_t at = get<std::uint32_t>(bytes, end + 16);
    if (at == 0xFFFFFFFFU) throw UserError("beyond 4 GiB, which this reader does not do");
    for (int i = 0; i < count; ++i) {
      if (get<std::uint32_t>(bytes, at) != 0x02014b50) throw UserError("its zip directory is damaged");
      const auto method = get<std::uint16_t>(bytes, at + 10);
      const auto sum = get<std::uint32_t>(bytes, at + 16);
      const std::size_t packed = get<std::uint32_t>(bytes, at + 20), size = get<std::uint32_t>(bytes, at + 24);
      const std::size_t name_size = get<std::uint16_t>(bytes, at + 28);
      const std::size_t local = get<std::uint32_t>(bytes, at + 42);
      if (at + 46 + name_size > bytes.size()) throw UserError("truncated");
      member = bytes.substr(at + 46, name_size);
      at += 46 + name_size + get<std::uint16_t>(bytes, at + 30) + get<std::uint16_t>(bytes, at + 32);
      if (get<std::uint32_t>(bytes, local) != 0x04034b50) throw UserError("is not where the zip directory says");
      const std::size_t data =
          local + 30 + get<std::uint16_t>(bytes, local + 26) + get<std::uint16_t>(bytes, local + 28);
      if (data > bytes.size() || packed > bytes.size() - data || size / 1100 > bytes.size())
        throw UserError("truncated");
      std::string content = bytes.substr(data, packed);
      if (method == 8) content = inflate_member(content, size);
      if (method != 0 && method != 8)
        throw UserError(fmt::format("compressed by method {}; expected stored or deflated", method));
      if (crc(content) != sum) throw UserError("damaged: its checksum is wrong");
      arrays[member.ends_with(".npy") ? member.substr(0, member.size() - 4) : member] = decode(content);
    }
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}{}", path.string(), member.empty() ? "" : member + ": ", e.what()));
  }
  return arrays;
}

}  // namespace igebm::io
