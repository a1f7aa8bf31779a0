#include <ATen/ATen.h>
#include <fmt/format.h>
#include <stb_image.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <iterator>
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

std::uint32_t little_endian(std::string_view bytes, std::size_t at) { return __builtin_bswap32(big_endian(bytes, at)); }

// Decoders fill what a truncated file lacks with grey or black, and stb does not look at PNG's checksums: both are
// looked at here, which also tells the offset.

/// Segments up to the first scan, then the end marker, which cannot occur within entropy-coded data. What stands
/// between segments is no part of the picture: every viewer passes over it. Where there is any, `bytes` is then
/// `clean`, the file without it.
std::string jpeg_problem(std::string_view& bytes, std::string& clean) {
  std::size_t at = 2;
  while (at + 4 <= bytes.size()) {
    std::size_t marker_at = at;
    while (marker_at + 2 < bytes.size() && (bytes[marker_at] != '\xff' || bytes[marker_at + 1] == '\0')) ++marker_at;
    if (marker_at > at) {
      if (clean.empty()) clean = bytes;
      bytes = clean.erase(at, marker_at - at);
    }
    if (at + 4 > bytes.size()) break;
    const auto marker = static_cast<unsigned char>(bytes[at + 1]);
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {  // these have no segment
      at += 2;
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

/// Rows of pixels that are not compressed, each filled up to four bytes; other kinds of BMP are left to the decoder.
std::string bmp_problem(std::string_view bytes) {
  if (bytes.size() < 34) return fmt::format("truncated: {} bytes, shorter than a BMP header", bytes.size());
  const bool old = little_endian(bytes, 14) == 12;  // OS/2's header: 16-bit sides, nothing compressed
  const auto side = [&](std::size_t at) {
    return static_cast<std::uint64_t>(std::llabs(static_cast<std::int32_t>(little_endian(bytes, at))));
  };
  const std::uint64_t width = old ? little_endian(bytes, 18) & 0xffffU : side(18),
                      height = old ? little_endian(bytes, 18) >> 16U : side(22),
                      bits = little_endian(bytes, old ? 22 : 26) >> 16U, start = little_endian(bytes, 10);
  const bool compressed = !old && little_endian(bytes, 30) != 0 && little_endian(bytes, 30) != 3;
  const std::uint64_t needed = start + (width * bits + 31) / 32 * 4 * height;
  if (compressed || needed <= bytes.size()) return {};
  return fmt::format("truncated: {} bytes, where {} x {} pixels of {} bits need {}", bytes.size(), width, height, bits,
                     needed);
}

/// RIFF's size of what follows it.
std::string webp_problem(std::string_view bytes) {
  const std::uint64_t whole = 8 + std::uint64_t{little_endian(bytes, 4)};
  if (whole <= bytes.size()) return {};
  return fmt::format("truncated: {} bytes, where its header promises {}", bytes.size(), whole);
}

constexpr std::string_view known_endings[] = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp",
                                              ".bmp", ".tif", ".tiff", ".ppm", ".pgm"};

}  // namespace

bool has_picture_name(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::ranges::find(known_endings, ending) != std::end(known_endings);
}

at::Tensor decode_picture(std::string_view bytes, std::int64_t channels, const std::string& name,
                          std::int64_t at_least) {
  const auto fail = [&](const std::string& what) { return UserError(fmt::format("{}: {}", name, what)); };
  const auto check = [&](const std::string& problem) {
    if (!problem.empty()) throw fail(problem);
  };
  const auto begins = [&](std::string_view with) { return bytes.starts_with(with); };
  using namespace std::string_view_literals;
  if (begins("\x89PNG\r\n\x1a\n"sv)) {
    check(png_problem(bytes));
    return decode_by_stb(bytes, channels, name);
  }
  if (begins("\xff\xd8"sv)) {
    std::string clean;
    check(jpeg_problem(bytes, clean));
    return decode_jpeg(bytes, channels, at_least, name);
  }
  if (begins("RIFF"sv) && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    check(webp_problem(bytes));
    return decode_webp(bytes, channels, name);
  }
  if (begins("BM"sv)) {
    check(bmp_problem(bytes));
    return decode_by_stb(bytes, channels, name);
  }
  if (begins("II*\0"sv) || begins("MM\0*"sv) || begins("II+\0"sv) || begins("MM\0+"sv))
    return decode_tiff(bytes, channels, name);
  if (begins("P5"sv) || begins("P6"sv)) return decode_pnm(bytes, channels, name);
  throw fail(bytes.empty() ? fmt::format("empty; expected a picture: {}", picture_kinds)
                           : fmt::format("not {}", picture_kinds));
}

at::Tensor with_channels(const at::Tensor& picture, std::int64_t channels) {
  if (picture.size(2) == channels) return picture;
  if (channels == 3) return picture.expand({-1, -1, 3}).contiguous();
  const at::Tensor parts = picture.to(at::kInt) * at::tensor({77, 150, 29}, at::kInt);
  return parts.sum(2, true, at::kInt).bitwise_right_shift(8).to(at::kByte);
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
