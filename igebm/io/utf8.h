#pragma once

#include <string>
#include <string_view>

/// Texts in TOML are UTF-8, names of files are any bytes. What is not UTF-8 is written as code points that Unicode
/// leaves to private use, as MirBSD's OPTU encoding does: U+EF80 for the byte 80 to U+EFFF for the byte FF.
namespace igebm::io {

/// Any bytes as UTF-8. bytes_of takes it back, unless there are such code points in `bytes` already.
std::string utf8_of(std::string_view bytes);
std::string bytes_of(std::string_view utf8);

}  // namespace igebm::io
