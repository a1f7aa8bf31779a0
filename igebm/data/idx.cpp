#include "igebm/data/idx.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "igebm/base/error.h"

namespace igebm::data {

namespace fs = std::filesystem;

at::Tensor read_idx(const fs::path& path) {
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("{}: {}", path.string(), what)); };
  if (!fs::is_regular_file(path)) throw fail("no such file");
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw fail("cannot be opened");
  const auto read = [&](void* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      const int part = gzread(file.get(), static_cast<char*>(to) + done,
                              static_cast<unsigned>(std::min<std::size_t>(size - done, 1U << 30)));
      if (part < 0) {
        int code = 0;
        throw fail(fmt::format("damaged gzip data at offset {}: {}", gztell(file.get()), gzerror(file.get(), &code)));
      }
      if (part == 0) break;
      done += static_cast<std::size_t>(part);
    }
    return done;
  };
  const auto truncated = [&](const std::string& expected) {
    return fail(fmt::format("truncated at offset {}: expected {}", gztell(file.get()), expected));
  };
  unsigned char magic[4] = {};
  if (read(magic, 4) != 4) throw truncated("an IDX header of at least 8 bytes");
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 || magic[3] > 4) {
    throw fail(
        fmt::format("not an IDX file of bytes: expected it to begin with 00 00 08 and 1 to 4 dimensions, got {:02x} "
                    "{:02x} {:02x} {:02x}",
                    magic[0], magic[1], magic[2], magic[3]));
  }
  std::vector<std::int64_t> shape;
  std::int64_t total = 1;
  for (int d = 0; d < magic[3]; ++d) {
    unsigned char b[4] = {};
    if (read(b, 4) != 4) throw truncated(fmt::format("an IDX header of {} bytes", 4 + 4 * magic[3]));
    shape.push_back((std::int64_t{b[0]} << 24) | (b[1] << 16) | (b[2] << 8) | b[3]);
    if (shape.back() == 0 || total > (std::int64_t{1} << 36) / shape.back())
      throw fail(fmt::format("dimension {} at offset {}: expected 1 or more, 2^36 bytes in all at most", shape.back(),
                             4 + 4 * d));
    total *= shape.back();
  }
  // Grown as data arrive: a damaged header must not ask for more memory than the file fills.
  std::vector<unsigned char> bytes;
  while (bytes.size() < static_cast<std::size_t>(total)) {
    const std::size_t want =
                          std::min<std::size_t>(static_cast<std::size_t>(total) - bytes.size(), std::size_t{1} << 26),
                      have = bytes.size();
    bytes.resize(have + want);
    const std::size_t got = read(bytes.data() + have, want);
    if (got != want) throw truncated(fmt::format("{} bytes of data, got {}", total, have + got));
  }
  char extra = 0;
  if (read(&extra, 1) != 0)
    throw fail(fmt::format("expected its end at offset {}, after {} bytes of data, got more", 4 + 4 * magic[3] + total,
                           total));
  int state = 0;
  gzerror(file.get(), &state);
  if (state != Z_OK && state != Z_STREAM_END) throw truncated("the end of the gzip data");
  at::Tensor tensor = at::empty(shape, at::kByte);
  std::copy(bytes.begin(), bytes.end(), tensor.data_ptr<std::uint8_t>());
  return tensor;
}

bool has_idx(const fs::path& folder, const std::string& name) {
  return fs::exists(folder / (name + ".gz")) || fs::exists(folder / name);
}

fs::path find_idx(const fs::path& folder, const std::string& name, const std::string& hint) {
  if (!has_idx(folder, name)) {
    throw UserError(fmt::format("{}: neither {} nor {}.gz is there; {}", folder.string(), name, name, hint));
  }
  return fs::exists(folder / (name + ".gz")) ? folder / (name + ".gz") : folder / name;
}

}  // namespace igebm::data
