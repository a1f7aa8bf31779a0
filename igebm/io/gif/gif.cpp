#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gif_lib.h>

#include <algorithm>
#include <cmath>

#include "igebm/base/error.h"
#include "igebm/io/files.h"
#include "igebm/io/picture.h"

namespace igebm::io {
namespace {

struct MapFree {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};
using ColorMap = std::unique_ptr<ColorMapObject, MapFree>;

int append(GifFileType* gif, const GifByteType* data, int size) {
  static_cast<std::string*>(gif->UserData)->append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  return size;
}

/// Greys as they are; colours on a 6 x 7 x 6 cube, which needs no table of the picture's own.
ColorMap colors(bool grey) {
  ColorMap map(GifMakeMapObject(256, nullptr));
  for (int i = 0; i < 256; ++i) {
    const auto level = [](int step, int steps) {
      return static_cast<GifByteType>(std::lround(255.0 * step / (steps - 1)));
    };
    map->Colors[i] =
        grey ? GifColorType{static_cast<GifByteType>(i), static_cast<GifByteType>(i), static_cast<GifByteType>(i)}
             : GifColorType{level((i / 42) % 6, 6), level((i / 6) % 7, 7), level(i % 6, 6)};
  }
  return map;
}

}  // namespace

void write_gif(const std::filesystem::path& path, const std::vector<at::Tensor>& frames, double frames_per_second,
               const Texts& texts) {
  if (frames.empty() || frames_per_second <= 0)
    throw UserError(fmt::format("{}: a GIF needs frames and a positive rate", path.string()));
  const int h = static_cast<int>(frames[0].size(0)), w = static_cast<int>(frames[0].size(1));
  const bool grey = frames[0].size(2) == 1;
  const ColorMap map = colors(grey);
  std::string bytes;
  int error = 0;
  GifFileType* gif = EGifOpen(&bytes, append, &error);
  if (gif == nullptr) throw UserError(fmt::format("{}: {}", path.string(), GifErrorString(error)));
  bool good = true;
  EGifSetGifVersion(gif, true);
  good = good && EGifPutScreenDesc(gif, w, h, 8, 0, map.get()) == GIF_OK;
  const unsigned char forever[] = {1, 0, 0};
  good = good && EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
         EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK && EGifPutExtensionBlock(gif, 3, forever) == GIF_OK &&
         EGifPutExtensionTrailer(gif) == GIF_OK;
  for (const auto& [name, text] : texts) good = good && EGifPutComment(gif, (name + ": " + text).c_str()) == GIF_OK;
  for (const at::Tensor& frame : frames) {
    GraphicsControlBlock control{DISPOSE_DO_NOT, false,
                                 std::max(2, static_cast<int>(std::lround(100 / frames_per_second))),
                                 NO_TRANSPARENT_COLOR};
    GifByteType extension[4];
    EGifGCBToExtension(&control, extension);
    good = good && EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, 4, extension) == GIF_OK &&
           EGifPutImageDesc(gif, 0, 0, w, h, false, nullptr) == GIF_OK;
    at::Tensor index = frame.to(at::kFloat);
    if (!grey) {
      const auto part = [&](int c, int steps) { return index.select(2, c).mul((steps - 1) / 255.0).round(); };
      index = part(0, 6) * 42 + part(1, 7) * 6 + part(2, 6);
    }
    at::Tensor pixels = index.to(at::kByte).contiguous();
    good = good && EGifPutLine(gif, pixels.data_ptr<std::uint8_t>(), w * h) == GIF_OK;
  }
  error = gif->Error;
  if (EGifCloseFile(gif, nullptr) != GIF_OK || !good)
    throw UserError(fmt::format("{}: the GIF could not be encoded", path.string()));
  write_atomically(path, bytes);
}

}  // namespace igebm::io
