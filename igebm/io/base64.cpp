#include "igebm/io/base64.h"

#include <algorithm>

namespace igebm::io {
namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8U | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63U];
  }
  return out;
}

std::optional<std::string> bytes_of_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = std::min<std::size_t>(2, text.size() - (text.find_last_not_of('=') + 1));
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    unsigned group = 0;
    for (std::size_t k = i; k < i + 4; ++k) {
      const std::size_t digit = k < text.size() - padding ? digits.find(text[k]) : 0;
      if (digit == std::string_view::npos) return std::nullopt;
      group = group << 6U | static_cast<unsigned>(digit);
    }
    for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(group >> static_cast<unsigned>(shift) & 255U);
  }
  out.resize(out.size() - padding);
  return out;
}

std::string png_url(std::string_view png) { return "data:image/png;base64," + base64(png); }

}  // namespace igebm::io
