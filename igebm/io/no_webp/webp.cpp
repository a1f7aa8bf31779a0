#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {

at::Tensor decode_webp(std::string_view, std::int64_t, const std::string& name) {
  throw UserError(fmt::format("{}: a WebP picture, and this igebm was built without libwebp", name));
}

}  // namespace igebm::io
