#include "igebm/io/utf8.h"

#include <cstddef>

namespace igebm::io {
namespace {

/// Length of the UTF-8 character at `at` (RFC 3629, section 4), 0 where there is none.
std::size_t character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(at), second = byte(at + 1);
  const auto follows = [&](std::size_t i) { return (byte(at + i) & 0xc0U) == 0x80; };
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f);
    return !wrong && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool wrong = (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    return !wrong && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string utf8_of(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    if (const std::size_t length = character(bytes, at); length > 0) {
      text += bytes.substr(at, length);
      at += length;
    } else {
      const auto byte = static_cast<unsigned char>(bytes[at++]);  // U+EF00 + byte
      text += '\xee';
      text += static_cast<char>(0xbcU + (byte >> 6U));
      text += static_cast<char>(0x80U | (byte & 0x3fU));
    }
  }
  return text;
}

std::string bytes_of(std::string_view utf8) {
  std::string bytes;
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t length = character(utf8, at);
    const auto second = length == 3 ? static_cast<unsigned char>(utf8[at + 1]) : 0U;
    if (length == 3 && utf8[at] == '\xee' && (second == 0xbe || second == 0xbf)) {
      bytes += static_cast<char>(((second & 3U) << 6U) | (static_cast<unsigned char>(utf8[at + 2]) & 0x3fU));
    } else {
      bytes += utf8.substr(at, length == 0 ? 1 : length);
    }
    at += length == 0 ? 1 : length;
  }
  return bytes;
}

}  // namespace igebm::io
