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
#include "igebm/io/zip.h"

namespace igebm::io {
namespace {

const std::vector<std::pair<const char*, at::ScalarType>> npz_types = {
    {"<f8", at::kDouble}, {"<f4", at::kFloat}, {"<f2", at::kHalf},  {"<i8", at::kLong}, {"<i4", at::kInt},
    {"|u1", at::kByte},   {"|b1", at::kBool},  {"<i2", at::kShort}, {"|i1", at::kChar}};
const std::string magic("\x93NUMPY", 6);
const std::string alone = "arr_0";  // as numpy.savez names what it is given without a name

template <typename T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian machines only, as LibTorch here
}

template <typename T>
T length_field(const std::string& from, std::size_t at) {
  T value{};
  if (at + sizeof value > from.size()) throw UserError("truncated");
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

std::uint32_t crc(const std::string& bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string encode(const std::string& type, const std::string& shape, const void* data, std::size_t size) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
  header.append(63 - (magic.size() + 4 + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = magic + std::string("\x01\x00", 2);
  put(bytes, static_cast<std::uint16_t>(header.size()));
  bytes += header;
  bytes.append(static_cast<const char*>(data), size);
  return bytes;
}

/// Of ASCII, as UCS-4.
std::string encode(const std::string& text) {
  const std::u32string wide(text.begin(), text.end());
  return encode(fmt::format("<U{}", wide.size()), "", wide.data(), wide.size() * sizeof(char32_t));
}

std::string encode(const at::Tensor& tensor, const std::string& name) {
  const at::Tensor t = tensor.detach().cpu().contiguous();
  const auto type = std::find_if(npz_types.begin(), npz_types.end(),
                                 [&](const auto& known) { return known.second == t.scalar_type(); });
  if (type == npz_types.end())
    throw UserError(fmt::format("array \"{}\" has a type that npz files of igebm lack", name));
  std::string shape;
  for (const auto d : t.sizes()) shape += fmt::format("{}, ", d);
  return encode(type->first, shape, t.const_data_ptr(), t.nbytes());
}

/// What stands before an array's data.
struct Header {
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  bool fortran;
};

/// A dictionary in Python's words, its literals in single quotes. Throws UserError.
std::string header_text(ZipMember& member) {
  const auto part = [&](std::uint64_t size) {
    if (size > member.left()) throw UserError("not an .npy array, or truncated in its header");
    std::string bytes(size, '\0');
    member.read(bytes.data(), size);
    return bytes;
  };
  const std::string start = part(8);
  if (!start.starts_with(magic)) throw UserError("not an .npy array");
  const bool wide = start[6] >= 2;
  const std::uint64_t length = wide ? length_field<std::uint32_t>(part(4), 0) : length_field<std::uint16_t>(part(2), 0);
  std::string header = part(length);
  std::replace(header.begin(), header.end(), '"', '\'');  // Python's literals are in either
  return header;
}

/// Is it of a text alone, as write_npz has it?
bool is_text(const std::string& header) {
  return header.find("'<U") != std::string::npos && header.find("'shape': ()") != std::string::npos;
}

Header read_header(ZipMember& member) {
  const std::string header = header_text(member);
  const auto after = [&](const char* key) {
    const auto at = header.find(key);
    if (at == std::string::npos) throw UserError(fmt::format("its header lacks {}", key));
    return header.substr(header.find(':', at) + 1);
  };
  Header h{at::kByte, {}, after("'fortran_order'").substr(0, 6).find("False") == std::string::npos};
  const std::string descr = after("'descr'");
  const auto type =
      std::find_if(npz_types.begin(), npz_types.end(), [&](const auto& known) { return descr.find(known.first) < 4; });
  if (type == npz_types.end())
    throw UserError(
        fmt::format("of type{}; expected float64, float32, float16, int64, int32, int16, int8, uint8 or bool",
                    descr.substr(0, descr.find(','))));
  h.type = type->second;
  std::string sizes = after("'shape'");
  sizes = sizes.substr(sizes.find('(') + 1, sizes.find(')') - sizes.find('(') - 1);
  std::uint64_t expected = at::elementSize(h.type);
  for (std::size_t at = sizes.find_first_of("0123456789"); at != std::string::npos;
       at = sizes.find_first_of("0123456789", sizes.find(',', at))) {
    h.shape.push_back(std::strtoll(sizes.c_str() + at, nullptr, 10));
    if (h.shape.back() > 0 && expected > member.left() / static_cast<std::uint64_t>(h.shape.back()) + 1)
      throw UserError("truncated: its shape needs more bytes than there are");
    expected *= static_cast<std::uint64_t>(h.shape.back());
    if (sizes.find(',', at) == std::string::npos) break;
  }
  if (member.left() != expected) {
    throw UserError(
        fmt::format("of shape ({}) needs {} bytes, has {}", fmt::join(h.shape, ", "), expected, member.left()));
  }
  return h;
}

}  // namespace

std::string encode_npz(const std::map<std::string, at::Tensor>& arrays, const Texts& texts) {
  std::string out, directory;
  const auto add = [&](const std::string& name, const std::string& bytes) {
    const std::string file = name + ".npy";
    if (bytes.size() >= 0xFFFFFFFFU || out.size() >= 0xFFFFFFFFU - bytes.size())
      throw UserError("beyond 4 GiB, which this npz writer does not do");
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
  };
  for (const auto& [name, tensor] : arrays) add(name, encode(tensor, name));
  for (const auto& [name, text] : texts) add(name, encode(text));
  const auto start = static_cast<std::uint32_t>(out.size());
  out += directory;
  put<std::uint32_t>(out, 0x06054b50);
  put<std::uint32_t>(out, 0);
  put(out, static_cast<std::uint16_t>(arrays.size() + texts.size()));
  put(out, static_cast<std::uint16_t>(arrays.size() + texts.size()));
  put(out, static_cast<std::uint32_t>(directory.size()));
  put(out, start);
  put<std::uint16_t>(out, 0);
  return out;
}

void write_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays, const Texts& texts) {
  std::string bytes;
  try {
    bytes = encode_npz(arrays, texts);
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", path.string(), e.what()));
  }
  write_atomically(path, bytes);
}

NpzFile::Array::Array(ZipMember member, std::string where) : member_(std::move(member)), where_(std::move(where)) {
  try {
    Header header = read_header(member_);
    type_ = header.type;
    fortran_ = header.fortran;
    shape_ = std::move(header.shape);
  } catch (const UserError& e) {
    // The zip reader's own messages say where already.
    const std::string what = e.what();
    throw UserError(what.starts_with(where_) ? what : fmt::format("{}: {}", where_, what));
  }
}

at::Tensor NpzFile::Array::read() {
  std::vector<std::int64_t> stored = shape_;
  if (fortran_) std::reverse(stored.begin(), stored.end());
  at::Tensor tensor = at::empty(stored, type_);
  if (tensor.numel() > 0) member_.read(tensor.data_ptr(), tensor.nbytes());
  if (!fortran_) return tensor;
  std::vector<std::int64_t> order(stored.size());
  for (std::size_t d = 0; d < order.size(); ++d) order[d] = static_cast<std::int64_t>(order.size() - 1 - d);
  return tensor.permute(order).contiguous();
}

void NpzFile::Array::read_rows(std::int64_t count, void* to) { member_.read(to, row_bytes(count)); }
void NpzFile::Array::skip_rows(std::int64_t count) { member_.skip(row_bytes(count)); }

std::uint64_t NpzFile::Array::row_bytes(std::int64_t count) const {
  if (fortran_ || shape_.empty()) throw UserError(where_ + ": has no rows to read one by one (Fortran order)");
  std::uint64_t bytes = at::elementSize(type_) * static_cast<std::uint64_t>(count);
  for (std::size_t d = 1; d < shape_.size(); ++d) bytes *= static_cast<std::uint64_t>(shape_[d]);
  return bytes;
}

NpzFile::NpzFile(const std::filesystem::path& path) : path_(path) {
  if (std::string start(magic.size(), '\0'); whole_file(path).left() >= magic.size()) {
    whole_file(path).read(start.data(), start.size());
    if (start == magic) return;
  }
  zip_.emplace(path);
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> all;
  if (!zip_) return {alone};
  for (const std::string& name : zip_->names())
    all.push_back(name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name);
  return all;
}

bool NpzFile::has(const std::string& name) const { return zip_ ? zip_->has(name + ".npy") : name == alone; }

NpzFile::Array NpzFile::open(const std::string& name) const {
  if (!zip_) {
    if (name != alone) throw UserError(fmt::format("{}: one array without a name, so no {}", path_.string(), name));
    return {whole_file(path_), path_.string()};
  }
  const std::string member = zip_->has(name + ".npy") ? name + ".npy" : name;
  return {zip_->open(member), fmt::format("{}: {}", path_.string(), member)};
}

std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path) {
  const NpzFile file(path);
  std::map<std::string, at::Tensor> arrays;
  for (const std::string& name : file.names()) {
    if (!file.is_text(name)) arrays[name] = file.open(name).read();
  }
  return arrays;
}

bool NpzFile::is_text(const std::string& name) const {
  const std::string member = name + ".npy";
  if (!zip_ || !zip_->has(member)) return false;
  ZipMember start = zip_->open(member);
  return igebm::io::is_text(header_text(start));
}

Texts npz_texts(const std::filesystem::path& path) {
  const ZipFile zip(path);
  Texts texts;
  for (const std::string& file : zip.names()) {
    ZipMember member = zip.open(file);
    if (!file.ends_with(".npy") || !is_text(header_text(member))) continue;
    std::u32string wide(member.left() / sizeof(char32_t), U'\0');
    member.read(wide.data(), wide.size() * sizeof(char32_t));
    texts[file.substr(0, file.size() - 4)] = std::string(wide.begin(), wide.end());
  }
  return texts;
}

}  // namespace igebm::io
