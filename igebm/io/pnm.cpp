#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cctype>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {
namespace {

/// The next number of the header, after white space and comments; 0 where there is none.
std::uint64_t next_number(std::string_view bytes, std::size_t& at) {
  while (at < bytes.size() && (std::isspace(static_cast<unsigned char>(bytes[at])) != 0 || bytes[at] == '#'))
    at = bytes[at] == '#' ? std::min(bytes.find('\n', at), bytes.size()) : at + 1;
  std::uint64_t number = 0;
  for (; at < bytes.size() && std::isdigit(static_cast<unsigned char>(bytes[at])) != 0 && number < 1U << 24U; ++at)
    number = 10 * number + static_cast<std::uint64_t>(bytes[at] - '0');
  return number;
}

}  // namespace

at::Tensor decode_pnm(std::string_view bytes, std::int64_t channels, const std::string& name) {
  const std::uint64_t stored = bytes[1] == '5' ? 1 : 3;
  std::size_t at = 2;
  const std::uint64_t width = next_number(bytes, at), height = next_number(bytes, at), most = next_number(bytes, at);
  if (width == 0 || height == 0 || most == 0 || most > 65535)
    throw UserError(fmt::format("{}: damaged: no width, height and greatest value in its header", name));
  ++at;  // one white space
  const std::uint64_t wide = most > 255 ? 2 : 1, values = width * height * stored;
  if (at > bytes.size() || values > (bytes.size() - at) / wide)
    throw UserError(fmt::format("{}: truncated: {} bytes, where {} x {} pixels need {}", name, bytes.size(), width,
                                height, at + values * wide));
  at::Tensor picture = at::empty(
      {static_cast<std::int64_t>(height), static_cast<std::int64_t>(width), static_cast<std::int64_t>(stored)},
      at::kByte);
  auto* out = picture.data_ptr<std::uint8_t>();
  for (std::uint64_t i = 0; i < values; ++i) {  // 16 bits come big end first
    std::uint64_t value = static_cast<unsigned char>(bytes[at + i * wide]);
    if (wide == 2) value = value << 8U | static_cast<unsigned char>(bytes[at + 2 * i + 1]);
    out[i] = static_cast<std::uint8_t>((255 * std::min(value, most) + most / 2) / most);
  }
  return with_channels(picture, channels);
}

}  // namespace igebm::io
