#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include "igebm/base/error.h"
#include "igebm/io/picture.h"

namespace igebm::io {

void write_gif(const std::filesystem::path& path, const std::vector<at::Tensor>&, double, const Texts&) {
  throw UserError(fmt::format("{}: this igebm was built without giflib; write .png or .npz", path.string()));
}

}  // namespace igebm::io
