#include "igebm/io/decoders.h"

namespace igebm::io {

at::Tensor decode_jpeg(std::string_view bytes, std::int64_t channels, std::int64_t /*at_least*/,
                       const std::string& name) {
  return decode_by_stb(bytes, channels, name);
}

}  // namespace igebm::io
