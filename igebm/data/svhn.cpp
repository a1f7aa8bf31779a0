#include "igebm/data/svhn.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "igebm/base/error.h"
#include "igebm/data/collect.h"

namespace igebm::data {
namespace {

namespace fs = std::filesystem;

// Of "MAT-File Format" (MathWorks), level 5. Debian's libmatio reads more, at the price of HDF5.
constexpr std::uint32_t mi_matrix = 14, mi_compressed = 15;

/// Bytes of one element of the file, inflated where it is compressed.
class Element {
 public:
  Element(std::ifstream& in, std::uint64_t size, bool compressed) : in_(in), left_(size), compressed_(compressed) {
    if (compressed && inflateInit(&stream_) != Z_OK) throw UserError("no memory to inflate it");
  }
  ~Element() {
    if (compressed_) inflateEnd(&stream_);
  }
  Element(const Element&) = delete;
  Element& operator=(const Element&) = delete;

  void read(void* to, std::uint64_t size) {
    auto* out = static_cast<char*>(to);
    while (size > 0 && !compressed_) {
      const auto got = fill(out, size);
      out += got, size -= got;
    }
    while (size > 0) {
      const auto part = static_cast<uInt>(std::min<std::uint64_t>(size, 1U << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(out);
      stream_.avail_out = part;
      const bool ended = inflate_some();
      out += part - stream_.avail_out, size -= part - stream_.avail_out;
      if (ended && size > 0) throw UserError(fmt::format("damaged compressed data before offset {}", offset()));
    }
  }
  /// Reads on to zlib's checksum, which stands at the end of the compressed data.
  void finish() {
    char none = 0;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(&none);
      stream_.avail_out = 1;
    } while (compressed_ && !inflate_some());
  }
  template <typename T>
  T number() {
    T value{};
    read(&value, sizeof value);
    return value;
  }

 private:
  /// True at the end of the compressed data.
  bool inflate_some() {
    if (stream_.avail_in == 0 && left_ > 0) {  // else what is asked for may be within what inflate has taken in already
      stream_.avail_in = static_cast<uInt>(fill(buffer_.data(), buffer_.size()));
      stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    }
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END)
      throw UserError(fmt::format("damaged compressed data before offset {}", offset()));
    return status == Z_STREAM_END;
  }
  std::size_t fill(char* to, std::uint64_t most) {
    const auto want = std::min<std::uint64_t>(most, left_);
    in_.read(to, static_cast<std::streamsize>(want));
    if (want == 0 || in_.gcount() != static_cast<std::streamsize>(want))
      throw UserError(fmt::format("truncated at offset {}", offset()));
    left_ -= want;
    return want;
  }
  std::int64_t offset() {
    in_.clear();
    return static_cast<std::int64_t>(in_.tellg());
  }

  std::ifstream& in_;
  std::uint64_t left_;
  bool compressed_;
  z_stream stream_{};
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
};

/// A part of a matrix: type and size, data, padding to 8 bytes; up to 4 bytes stand within the tag itself.
struct Tag {
  std::uint32_t type, size, padding;
};

Tag read_tag(Element& from) {
  const auto type = from.number<std::uint32_t>();
  if (type >> 16U != 0) return {type & 0xffffU, type >> 16U, (4 - (type >> 16U)) % 4};
  const auto size = from.number<std::uint32_t>();
  return {type, size, (8 - size % 8) % 8};
}

std::string read_part(Element& from, std::uint32_t most) {
  const Tag tag = read_tag(from);
  if (tag.size > most) throw UserError(fmt::format("damaged: a part of {} bytes, expected at most {}", tag.size, most));
  std::string bytes(tag.size, '\0'), padding(tag.padding, '\0');
  from.read(bytes.data(), bytes.size());
  from.read(padding.data(), padding.size());
  return bytes;
}

at::ScalarType scalar_type(std::uint32_t type) {
  switch (type) {
    case 1:
      return at::kChar;
    case 2:
      return at::kByte;
    case 3:
      return at::kShort;
    case 5:
      return at::kInt;
    case 7:
      return at::kFloat;
    case 9:
      return at::kDouble;
    case 12:
      return at::kLong;
    default:
      throw UserError(fmt::format("numbers of type {}, which this reader does not know", type));
  }
}

}  // namespace

std::vector<at::Tensor> read_mat(const fs::path& path, const std::vector<std::string>& wanted) {
  std::vector<at::Tensor> found(wanted.size());
  try {
    std::ifstream in(path, std::ios::binary);
    if (!in || fs::is_directory(path)) throw UserError("cannot be read");
    const auto size = static_cast<std::uint64_t>(fs::file_size(path));
    char header[128] = {};
    in.read(header, sizeof header);
    if (in.gcount() != sizeof header || std::string(header, 6) != "MATLAB" ||
        std::string(header + 124, 4) != std::string("\x00\x01IM", 4))
      throw UserError("not a MATLAB 5 file of a little-endian machine (expected so in its first 128 bytes)");
    std::uint64_t at = sizeof header;
    while (at < size && std::any_of(found.begin(), found.end(), [](const auto& t) { return !t.defined(); })) {
      in.clear();
      in.seekg(static_cast<std::streamoff>(at));
      std::uint32_t tag[2] = {};
      in.read(reinterpret_cast<char*>(tag), sizeof tag);
      if (in.gcount() != sizeof tag || tag[1] > size - at - 8)
        throw UserError(fmt::format("truncated: the element at offset {} is not whole", at));
      at += 8 + std::uint64_t{tag[1]} + (tag[0] == mi_compressed ? 0 : (8 - tag[1] % 8) % 8);
      if (tag[0] != mi_matrix && tag[0] != mi_compressed) continue;
      Element element(in, tag[1], tag[0] == mi_compressed);
      std::uint64_t bytes = tag[1];
      if (tag[0] == mi_compressed) {
        if (element.number<std::uint32_t>() != mi_matrix) continue;
        bytes = element.number<std::uint32_t>();
      }
      read_part(element, 8);  // flags and class
      const std::string dimensions = read_part(element, 4 * 8), name = read_part(element, 64);
      const auto which = std::find(wanted.begin(), wanted.end(), name);
      if (which == wanted.end()) continue;
      std::vector<std::int64_t> shape;
      for (std::size_t d = 0; d + 4 <= dimensions.size(); d += 4) {
        std::int32_t length = 0;
        std::memcpy(&length, dimensions.data() + d, 4);
        shape.insert(shape.begin(), length);
      }
      const Tag data = read_tag(element);
      const at::ScalarType type = scalar_type(data.type);
      std::uint64_t expected = at::elementSize(type);
      for (const auto d : shape) expected *= static_cast<std::uint64_t>(std::max<std::int64_t>(d, 0));
      if (data.size != expected || data.size > bytes || data.size / 1100 > size)
        throw UserError(fmt::format("damaged: {} of {} bytes, where its shape asks for {}", name, data.size, expected));
      at::Tensor tensor = at::empty(shape, type);
      element.read(tensor.data_ptr(), data.size);
      element.finish();
      found[static_cast<std::size_t>(which - wanted.begin())] = tensor;
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!found[i].defined()) throw UserError(fmt::format("holds no array \"{}\"", wanted[i]));
    }
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", path.string(), e.what()));
  }
  return found;
}

Dataset svhn(const Options& options, bool test) {
  std::vector<std::string> parts = {test ? "test" : "train"};
  if (!test && options.variant == "extra") parts.emplace_back("extra");
  Collector all(options.count);
  for (const std::string& part : parts) {
    if (all.done()) break;
    const fs::path path = fs::path(options.path) / (part + "_32x32.mat");
    const auto arrays = read_mat(path, {"X", "y"});
    const at::Tensor& x = arrays[0];
    if (x.dim() != 4 || x.size(1) != 3 || x.scalar_type() != at::kByte)
      throw UserError(fmt::format("{}: expected X as bytes (H, W, 3, N)", path.string()));
    const at::Tensor y = arrays[1].flatten();
    if (y.size(0) != x.size(0))
      throw UserError(fmt::format("{}: {} labels for {} pictures", path.string(), y.size(0), x.size(0)));
    all.add(x.transpose(2, 3), require_labels(y, 10, path, 1).remainder(10), path);  // MATLAB's columns come first
  }
  Dataset set = all.finish(10, {});
  set.x = set.x.contiguous();
  return set;
}

}  // namespace igebm::data
