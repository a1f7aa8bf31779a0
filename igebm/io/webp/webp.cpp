#include <ATen/ATen.h>
#include <fmt/format.h>
#include <webp/decode.h>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {

at::Tensor decode_webp(std::string_view bytes, std::int64_t channels, const std::string& name) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPBitstreamFeatures about;
  if (WebPGetFeatures(data, bytes.size(), &about) != VP8_STATUS_OK)
    throw UserError(fmt::format("{}: damaged: its WebP header cannot be read", name));
  if (about.has_animation != 0) throw UserError(fmt::format("{}: an animation; expected one picture", name));
  at::Tensor picture = at::empty({about.height, about.width, 3}, at::kByte);
  if (WebPDecodeRGBInto(data, bytes.size(), picture.data_ptr<std::uint8_t>(), picture.nbytes(), 3 * about.width) ==
      nullptr)
    throw UserError(fmt::format("{}: damaged: its WebP data cannot be decoded", name));
  return with_channels(picture, channels);
}

}  // namespace igebm::io
