#include "igebm/engine/cpu/kernels.h"

#include <string_view>

namespace igebm::engine::cpu {
namespace v2 {
extern const Kernels table;
}
#if defined(__x86_64__)
namespace v3 {
extern const Kernels table;
}
namespace v4 {
extern const Kernels table;
}

const Kernels& kernels(const char* limit) {
  const std::string_view most = limit;
  if (__builtin_cpu_supports("x86-64-v4") != 0 && (most.empty() || most == "v4")) return v4::table;
  if (__builtin_cpu_supports("x86-64-v3") != 0 && most != "v2") return v3::table;
  return v2::table;
}
#else
const Kernels& kernels(const char*) { return v2::table; }
#endif

}  // namespace igebm::engine::cpu
