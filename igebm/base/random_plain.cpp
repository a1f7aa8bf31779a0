// For builds without levels of x86-64 (cmake/Rooms.cmake): random.cpp calls none of these there.
#include "igebm/base/random_v4.h"

namespace igebm::detail {

void normals_v4(std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::int64_t, std::int64_t,
                float*) {}
void normals_v4(const Counters16&, std::uint32_t, std::uint32_t, float*) {}
std::int64_t rows_v4(const std::int64_t*, const std::int64_t*, std::int64_t, std::int64_t, std::uint32_t, std::uint32_t,
                     float*) {
  return 0;
}

}  // namespace igebm::detail
