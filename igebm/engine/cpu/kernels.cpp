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
namespace v4_bf16 {
extern const Kernels table;
}

const Kernels& kernels(const char* limit) {
  const std::string_view most = limit;
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  if (has_v4 && __builtin_cpu_supports("avx512bf16") && (most.empty() || most == "v4-bf16")) return v4_bf16::table;
  if (has_v4 && (most.empty() || most.starts_with("v4"))) return v4::table;
  if (has_v3 && most != "v2") return v3::table;
  return v2::table;
}
#else
const Kernels& kernels(const char*) { return v2::table; }
#endif

}  // namespace igebm::engine::cpu
