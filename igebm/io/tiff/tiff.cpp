#include <ATen/ATen.h>
#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {
namespace {

/// A file in memory, as libtiff asks for it.
struct Memory {
  std::string_view bytes;
  std::uint64_t at = 0;
};

Memory& memory(thandle_t handle) { return *static_cast<Memory*>(handle); }

tmsize_t read(thandle_t handle, void* to, tmsize_t size) {
  Memory& m = memory(handle);
  const std::uint64_t left = m.bytes.size() - std::min<std::uint64_t>(m.at, m.bytes.size()),
                      part = std::min<std::uint64_t>(left, static_cast<std::uint64_t>(size));
  if (part > 0) std::memcpy(to, m.bytes.data() + m.at, part);
  m.at += part;
  return static_cast<tmsize_t>(part);
}

tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek(thandle_t handle, toff_t offset, int from) {
  Memory& m = memory(handle);
  m.at = from == SEEK_SET ? offset : from == SEEK_CUR ? m.at + offset : m.bytes.size() + offset;
  return m.at;
}

int close(thandle_t) { return 0; }
toff_t size_of(thandle_t handle) { return memory(handle).bytes.size(); }

/// Keeps the first of its messages, which libtiff would print.
int on_error(TIFF*, void* to, const char*, const char* format, va_list values) {
  auto& problem = *static_cast<std::string*>(to);
  char text[300];
  if (problem.empty() && std::vsnprintf(text, sizeof text, format, values) > 0) problem = text;
  return 1;
}
int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct Closing {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};

}  // namespace

at::Tensor decode_tiff(std::string_view bytes, std::int64_t channels, const std::string& name) {
  Memory file{bytes};
  std::string problem;
  const auto fail = [&] {
    return UserError(fmt::format("{}: damaged, or a TIFF of an unusual kind: {}", name,
                                 problem.empty() ? "it cannot be decoded" : problem));
  };
  constexpr tmsize_t most = tmsize_t{1} << 30;  // a damaged size must not ask for all memory
  const std::unique_ptr<TIFFOpenOptions, Closing> options(TIFFOpenOptionsAlloc());
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), most);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &problem);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, nullptr);
  const std::unique_ptr<TIFF, Closing> tiff(
      TIFFClientOpenExt(name.c_str(), "rm", &file, read, write, seek, close, size_of, nullptr, nullptr, options.get()));
  std::uint32_t width = 0, height = 0;
  if (!tiff || TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width) != 1 ||
      TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height) != 1)
    throw fail();
  if (width == 0 || height == 0 || std::uint64_t{width} * height > most / 4)
    throw UserError(fmt::format("{}: damaged: {} x {} pixels", name, width, height));
  std::vector<std::uint32_t> pixels(std::size_t{width} * height);
  if (TIFFReadRGBAImageOriented(tiff.get(), width, height, pixels.data(), ORIENTATION_TOPLEFT, 1) != 1) throw fail();
  at::Tensor picture = at::empty({height, width, 3}, at::kByte);
  auto* out = picture.data_ptr<std::uint8_t>();
  for (const std::uint32_t pixel : pixels) {
    *out++ = static_cast<std::uint8_t>(TIFFGetR(pixel));
    *out++ = static_cast<std::uint8_t>(TIFFGetG(pixel));
    *out++ = static_cast<std::uint8_t>(TIFFGetB(pixel));
  }
  return with_channels(picture, channels);
}

}  // namespace igebm::io
