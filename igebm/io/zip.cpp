#include "igebm/io/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "igebm/base/error.h"

namespace igebm::io {
namespace {

template <typename T>
T directory_field(const std::string& from, std::size_t at) {
  T value{};
  if (at > from.size() || sizeof value > from.size() - at) throw UserError("its zip directory is damaged");
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

std::string bytes_at(std::ifstream& in, std::uint64_t offset, std::uint64_t size) {
  std::string bytes(size, '\0');
  in.clear();
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uint64_t>(in.gcount()) != size) throw UserError(fmt::format("truncated at offset {}", offset));
  return bytes;
}

std::ifstream open_at_end(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw UserError("cannot be read: it is a folder");
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw UserError(fmt::format("cannot be read: {}", std::strerror(errno)));
  return in;
}

/// Where the end of the directory begins in a file's last bytes: its length of the comment after it must reach the
/// file's end, as a comment may look like one itself. A file with something appended has the last that looks like one.
std::size_t end_of_directory(const std::string& tail) {
  const std::string signature("PK\x05\x06", 4);
  const std::size_t last = tail.rfind(signature);
  for (std::size_t at = last; at != std::string::npos && at > 0; at = tail.rfind(signature, at - 1)) {
    if (at + 22 <= tail.size() && at + 22 + directory_field<std::uint16_t>(tail, at + 20) == tail.size()) return at;
  }
  return last;
}

}  // namespace

struct ZipMember::State {
  std::ifstream in;
  std::string where;  // file and member, for messages
  std::uint64_t packed_left = 0, size = 0, left = 0;
  std::uint32_t checksum = 0, sum = 0;
  bool deflated = false, ended = false, checked = true;
  z_stream stream{};
  std::vector<char> buffer = std::vector<char>(1 << 16);

  ~State() {
    if (deflated) inflateEnd(&stream);
  }
  [[noreturn]] void fail(const char* what) {
    in.clear();
    throw UserError(fmt::format("{}: {} at offset {}", where, what, static_cast<std::int64_t>(in.tellg())));
  }
  std::size_t fill(char* to, std::uint64_t most) {
    const auto want = static_cast<std::streamsize>(std::min<std::uint64_t>(most, packed_left));
    in.read(to, want);
    if (in.gcount() != want) fail("truncated");
    packed_left -= static_cast<std::uint64_t>(want);
    return static_cast<std::size_t>(want);
  }
  void inflate_into(char* to, std::uint64_t bytes) {
    while (bytes > 0) {
      if (stream.avail_in == 0) {
        stream.next_in = reinterpret_cast<Bytef*>(buffer.data());
        stream.avail_in = static_cast<uInt>(fill(buffer.data(), buffer.size()));
      }
      stream.next_out = reinterpret_cast<Bytef*>(to);
      stream.avail_out = static_cast<uInt>(std::min<std::uint64_t>(bytes, 1U << 30));
      const uInt before = stream.avail_out;
      const int status = inflate(&stream, Z_NO_FLUSH);
      const uInt got = before - stream.avail_out;
      to += got;
      bytes -= got;
      ended = status == Z_STREAM_END;
      if ((status != Z_OK && !ended) || (bytes > 0 && ended) || (got == 0 && stream.avail_in == 0 && packed_left == 0))
        fail("its compressed data are damaged");
    }
  }
  /// All data must have been used, and their end been met.
  void finish() {
    while (deflated && !ended) {
      char none = 0;
      if (stream.avail_in == 0) {
        stream.next_in = reinterpret_cast<Bytef*>(buffer.data());
        stream.avail_in = static_cast<uInt>(fill(buffer.data(), buffer.size()));
      }
      stream.next_out = reinterpret_cast<Bytef*>(&none);
      stream.avail_out = 1;
      const int status = inflate(&stream, Z_NO_FLUSH);  // the end may be within what it has taken in already
      if (stream.avail_out == 0) fail("longer than its directory says");
      if (status != Z_OK && status != Z_STREAM_END) fail("its compressed data are damaged, or lack their end,");
      ended = status == Z_STREAM_END;
    }
    if (checked && sum != checksum) fail("damaged: its checksum is wrong");
  }
};

ZipMember::ZipMember(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZipMember::ZipMember(ZipMember&&) noexcept = default;
ZipMember& ZipMember::operator=(ZipMember&&) noexcept = default;
ZipMember::~ZipMember() = default;
std::uint64_t ZipMember::size() const { return state_->size; }
std::uint64_t ZipMember::left() const { return state_->left; }

void ZipMember::read(void* to, std::uint64_t bytes) {
  State& s = *state_;
  if (bytes > s.left) s.fail("truncated: shorter than its header promises");
  if (s.deflated) {
    s.inflate_into(static_cast<char*>(to), bytes);
  } else {
    s.fill(static_cast<char*>(to), bytes);
  }
  s.sum = static_cast<std::uint32_t>(crc32_z(s.sum, static_cast<const Bytef*>(to), bytes));
  s.left -= bytes;
  if (s.left == 0) s.finish();
}

void ZipMember::skip(std::uint64_t bytes) {
  std::vector<char> scratch(std::min<std::uint64_t>(bytes, 1U << 20));
  while (bytes > 0) {
    const auto part = std::min<std::uint64_t>(bytes, scratch.size());
    read(scratch.data(), part);
    bytes -= part;
  }
}

ZipMember whole_file(const std::filesystem::path& path) {
  auto state = std::make_unique<ZipMember::State>();
  state->where = path.string();
  try {
    state->in = open_at_end(path);
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", path.string(), e.what()));
  }
  state->packed_left = state->size = state->left = static_cast<std::uint64_t>(state->in.tellg());
  state->in.seekg(0);
  state->checked = false;
  return ZipMember(std::move(state));
}

// Offsets and fields: PKWARE's APPNOTE 6.3, sections 4.3.12 (directory), 4.3.14 to 16 (its end), 4.5.3 (zip64).
ZipFile::ZipFile(const std::filesystem::path& path) : path_(path) {
  try {
    std::ifstream in = open_at_end(path);
    file_size_ = static_cast<std::uint64_t>(in.tellg());
    const std::uint64_t tail_size = std::min<std::uint64_t>(file_size_, 22 + 65535 + 20),
                        tail_start = file_size_ - tail_size;
    const std::string tail = bytes_at(in, tail_start, tail_size);
    const std::size_t end = end_of_directory(tail);
    if (end == std::string::npos || end + 22 > tail.size())
      throw UserError("not a zip file, or truncated: no zip directory at its end");
    std::uint64_t count = directory_field<std::uint16_t>(tail, end + 10),
                  size = directory_field<std::uint32_t>(tail, end + 12),
                  start = directory_field<std::uint32_t>(tail, end + 16);
    if (end >= 20 && tail.compare(end - 20, 4, std::string("PK\x06\x07", 4)) == 0) {
      const std::string wide = bytes_at(in, directory_field<std::uint64_t>(tail, end - 12), 56);
      count = directory_field<std::uint64_t>(wide, 32), size = directory_field<std::uint64_t>(wide, 40),
      start = directory_field<std::uint64_t>(wide, 48);
    }
    if (start > file_size_ || size > file_size_ - start) throw UserError("its zip directory is damaged");
    const std::string directory = bytes_at(in, start, size);
    std::size_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (directory_field<std::uint32_t>(directory, at) != 0x02014b50)
        throw UserError(fmt::format("its zip directory is damaged at offset {}", start + at));
      const std::size_t name_size = directory_field<std::uint16_t>(directory, at + 28),
                        extra_size = directory_field<std::uint16_t>(directory, at + 30),
                        comment_size = directory_field<std::uint16_t>(directory, at + 32);
      Entry entry{{},
                  directory_field<std::uint32_t>(directory, at + 20),
                  directory_field<std::uint32_t>(directory, at + 24),
                  directory_field<std::uint32_t>(directory, at + 42),
                  directory_field<std::uint32_t>(directory, at + 16),
                  directory_field<std::uint16_t>(directory, at + 10)};
      if (at + 46 + name_size + extra_size > directory.size()) throw UserError("its zip directory is damaged");
      entry.name = directory.substr(at + 46, name_size);
      const std::string extra = directory.substr(at + 46 + name_size, extra_size);
      for (std::size_t e = 0; e + 4 <= extra.size(); e += 4U + directory_field<std::uint16_t>(extra, e + 2)) {
        if (directory_field<std::uint16_t>(extra, e) != 1) continue;
        std::size_t field = e + 4;  // only those that did not fit, in this order
        for (std::uint64_t* value : {&entry.size, &entry.packed, &entry.local}) {
          if (*value == 0xFFFFFFFFU) *value = directory_field<std::uint64_t>(extra, field), field += 8;
        }
      }
      entries_.push_back(std::move(entry));
      at += 46 + name_size + extra_size + comment_size;
    }
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", path.string(), e.what()));
  }
}

std::vector<std::string> ZipFile::names() const {
  std::vector<std::string> all;
  for (const Entry& entry : entries_) all.push_back(entry.name);
  return all;
}

bool ZipFile::has(const std::string& name) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.name == name; });
}

ZipMember ZipFile::open(const std::string& name) const {
  const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  if (entry == entries_.end()) throw UserError(fmt::format("{}: {} is not in it", path_.string(), name));
  auto state = std::make_unique<ZipMember::State>();
  state->where = fmt::format("{}: {}", path_.string(), name);
  state->in.open(path_, std::ios::binary);
  try {
    const std::string local = bytes_at(state->in, entry->local, 30);
    if (directory_field<std::uint32_t>(local, 0) != 0x04034b50)
      throw UserError(fmt::format("is not at offset {}, where the zip directory says", entry->local));
    const std::uint64_t data =
        entry->local + 30 + directory_field<std::uint16_t>(local, 26) + directory_field<std::uint16_t>(local, 28);
    // Deflate packs 1,032 to 1 at most: a damaged size must not ask for more memory than the file can fill.
    if (data > file_size_ || entry->packed > file_size_ - data || entry->size / 1100 > entry->packed)
      throw UserError(fmt::format("truncated: {} bytes promised at offset {}, where the file has {}", entry->packed,
                                  data, file_size_ - std::min(data, file_size_)));
    if (entry->method != 0 && entry->method != 8)
      throw UserError(fmt::format("compressed by method {}; expected stored or deflated", entry->method));
    if (entry->method == 0 && entry->size != entry->packed) throw UserError("two sizes for what is not compressed");
    state->in.seekg(static_cast<std::streamoff>(data));
  } catch (const UserError& e) {
    throw UserError(fmt::format("{}: {}", state->where, e.what()));
  }
  state->packed_left = entry->packed;
  state->size = state->left = entry->size;
  state->checksum = entry->checksum;
  if (entry->method == 8) {
    if (inflateInit2(&state->stream, -MAX_WBITS) != Z_OK) throw UserError(state->where + ": no memory to inflate it");
    state->deflated = true;
  }
  if (state->size == 0) state->finish();
  return ZipMember(std::move(state));
}

}  // namespace igebm::io
