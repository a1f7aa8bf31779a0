#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace igebm::io {

std::string base64(std::string_view bytes);
/// The other way; nothing where it is none, with its "=" at the end.
std::optional<std::string> bytes_of_base64(std::string_view text);
/// A PNG file's bytes as the address of a picture within a page.
std::string png_url(std::string_view png);

}  // namespace igebm::io
