#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

/// The parts of decode_picture (io/picture.h): pixels of a file whose frame has been looked at.
namespace igebm::io {

/// stb's: PNG, BMP, and JPEG where there is no libjpeg-turbo.
at::Tensor decode_by_stb(std::string_view bytes, std::int64_t channels, const std::string& name);

/// At 1/2, 1/4 or 1/8 of its size where its short side still has `at_least` > 0 pixels then, which takes less time.
/// libjpeg-turbo tells of damage within the scan; stb, without it, does not, and decodes at full size.
at::Tensor decode_jpeg(std::string_view bytes, std::int64_t channels, std::int64_t at_least, const std::string& name);

/// Throw UserError where igebm was built without libwebp, or without libtiff. Of a TIFF's pages the first.
at::Tensor decode_webp(std::string_view bytes, std::int64_t channels, const std::string& name);
at::Tensor decode_tiff(std::string_view bytes, std::int64_t channels, const std::string& name);

/// PGM and PPM, binary, of 8 or 16 bits.
at::Tensor decode_pnm(std::string_view bytes, std::int64_t channels, const std::string& name);

/// A picture (H, W, 1 or 3) with `channels` of them; colours become grey as stb makes them.
at::Tensor with_channels(const at::Tensor& picture, std::int64_t channels);

}  // namespace igebm::io
