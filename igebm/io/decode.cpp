#include <ATen/ATen.h>
#include <fmt/format.h>
#include <stb_image.h>
#include <zlib.h>

#include <cstring>
#include <memory>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"
#include "igebm/io/picture.h"

namespace igebm::io {
namespace {

std::uint32_t big_endian(std::string_view bytes, std::size_t at) {
  const auto b = [&](std::size_t i) { return std::uint32_t{static_cast<unsigned char>(bytes[at + i])}; };
  return b(0) << 24 | b(1) << 16 | b(2) << 8 | b(3);
}

// Decoders fill what a truncated JPEG lacks with grey, and stb does not look at PNG's checksums: both are looked at
// here, which also tells the offset.

/// Segments up to the first scan, then the end marker, which cannot occur within entropy-coded data.
std::string jpeg_problem(std::string_view bytes) {
  std::size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (bytes[at] != '\xff') return fmt::format("damaged: expected a JPEG marker at offset {}", at);
    const auto marker = static_cast<unsigned char>(bytes[at + 1]);
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0xda) {
      if (bytes.find(std::string_view("\xff\xd9", 2), at) != std::string_view::npos) return {};
      return fmt::format("truncated: {} bytes, and no JPEG end marker after its scan at offset {}", bytes.size(), at);
    }
    at += 2U + (static_cast<unsigned char>(bytes[at + 2]) << 8U) + static_cast<unsigned char>(bytes[at + 3]);
  }
  return fmt::format("truncated: {} bytes, and no JPEG scan in them", bytes.size());
}

std::string png_problem(std::string_view bytes) {
  std::size_t at = 8;
  while (at + 12 <= bytes.size()) {
    const std::size_t size = big_endian(bytes, at);
    if (size > bytes.size() - at - 12) break;
    const auto sum = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data() + at + 4), size + 4);
    if (sum != big_endian(bytes, at + 8 + size))
      return fmt::format("damaged: wrong checksum of the PNG chunk at offset {}", at);
    if (bytes.substr(at + 4, 4) == "IEND") return {};
    at += 12 + size;
  }
  return fmt::format("truncated: {} bytes, and the PNG chunk at offset {} is not whole", bytes.size(), at);
}

}  // namespace

at::Tensor decode_picture(std::string_view bytes, std::int64_t channels, const std::string& name,
                          std::int64_t at_least) {
  const bool png = bytes.starts_with(std::string_view("\x89PNG\r\n\x1a\n", 8)),
             jpeg = bytes.starts_with(std::string_view("\xff\xd8", 2));
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("{}: {}", name, what)); };
  if (!png && !jpeg) throw fail(bytes.empty() ? "empty; expected a PNG or JPEG picture" : "neither PNG nor JPEG");
  if (const std::string problem = png ? png_problem(bytes) : jpeg_problem(bytes); !problem.empty()) throw fail(problem);
  return png ? decode_by_stb(bytes, channels, name) : decode_jpeg(bytes, channels, at_least, name);
}

at::Tensor decode_by_stb(std::string_view bytes, std::int64_t channels, const std::string& name) {
  int w = 0, h = 0, stored = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()), &w, &h,
                            &stored, static_cast<int>(channels)),
      stbi_image_free);
  if (!pixels) throw UserError(fmt::format("{}: damaged: {}", name, stbi_failure_reason()));
  at::Tensor picture = at::empty({h, w, channels}, at::kByte);
  std::memcpy(picture.data_ptr(), pixels.get(), picture.nbytes());
  return picture;
}

}  // namespace igebm::io
