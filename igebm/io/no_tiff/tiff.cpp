#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/io/decoders.h"

namespace igebm::io {

at::Tensor decode_tiff(std::string_view, std::int64_t, const std::string& name) {
  throw UserError(fmt::format("{}: a TIFF picture, and this igebm was built without libtiff 4.5 or later", name));
}

}  // namespace igebm::io
