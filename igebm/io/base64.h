#pragma once

#include <string>
#include <string_view>

namespace igebm::io {

std::string base64(std::string_view bytes);
/// A PNG file's bytes as the address of a picture within a page.
std::string png_url(std::string_view png);

}  // namespace igebm::io
