#include <ATen/ATen.h>
#include <fmt/format.h>
#include <turbojpeg.h>

#include <algorithm>
#include <memory>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {
namespace {

/// libjpeg goes on after what it calls a warning. These are of wrong pixels, the others of unusual headers.
bool is_damage(std::string_view warning) {
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"Corrupt JPEG data", "Premature end", "Inconsistent progression"},
      [&](std::string_view start) { return warning.starts_with(start); });
}

/// Of print inks (H, W, 4), which JPEG stores inverted: 255 is none.
at::Tensor from_inks(const at::Tensor& inks, std::int64_t channels) {
  const at::Tensor all = inks.to(at::kFloat);
  at::Tensor colours = all.slice(2, 0, 3) * all.slice(2, 3, 4) / 255;
  if (channels == 1) colours = (colours * at::tensor({0.299F, 0.587F, 0.114F})).sum(2, true);
  return colours.round().to(at::kByte);
}

}  // namespace

at::Tensor decode_jpeg(std::string_view bytes, std::int64_t channels, std::int64_t at_least, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> jpeg(tjInitDecompress(), tjDestroy);
  const auto check = [&](int status) {
    if (status == 0) return;
    const std::string what = tjGetErrorStr2(jpeg.get());
    if (tjGetErrorCode(jpeg.get()) == TJERR_WARNING && !is_damage(what)) return;
    throw UserError(fmt::format("{}: damaged: {}", name, what));
  };
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  check(tjDecompressHeader3(jpeg.get(), data, bytes.size(), &width, &height, &subsampling, &colours));
  const int side = std::min(width, height);
  tjscalingfactor scale{1, 1};
  for (tjscalingfactor half{1, 2}; half.denom <= 8 && at_least > 0 && TJSCALED(side, half) >= at_least; half.denom *= 2)
    scale = half;
  width = TJSCALED(width, scale), height = TJSCALED(height, scale);
  const bool inks = colours == TJCS_CMYK || colours == TJCS_YCCK;
  at::Tensor picture = at::empty({height, width, inks ? 4 : channels}, at::kByte);
  check(tjDecompress2(jpeg.get(), data, bytes.size(), picture.data_ptr<std::uint8_t>(), width, 0, height,
                      inks            ? TJPF_CMYK
                      : channels == 1 ? TJPF_GRAY
                                      : TJPF_RGB,
                      0));
  return inks ? from_inks(picture, channels) : picture;
}

}  // namespace igebm::io
