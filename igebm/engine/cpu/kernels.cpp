#include "igebm/engine/cpu/kernels.h"

#include <string_view>

#if defined(IGEBM_X86_LEVELS)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace igebm::engine::cpu {
#if defined(IGEBM_X86_LEVELS)
namespace v2 {
extern const Kernels table;
}
namespace v3 {
extern const Kernels table;
}
namespace v4 {
extern const Kernels table;
}
namespace v4_bf16 {
extern const decltype(Kernels::pack_winograd_bf16) packed;
extern const decltype(Kernels::winograd_bf16) convolved;
}  // namespace v4_bf16
namespace v4_amx {
extern const Kernels table;
}
namespace {

/// Has the processor tiles of bfloat16, and lets the system this process use them? Asked for once: it sets memory aside
/// for every thread's tiles. (Linux, Documentation/arch/x86/xstate.rst)
bool ask_for_tiles() {
#ifdef __linux__
  constexpr long request_permission = 0x1023, tile_data = 18;
  constexpr unsigned tiles = 1U << 24, of_bf16 = 1U << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & tiles) == 0 || (d & of_bf16) == 0) return false;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

const Kernels& bf16_kernels() {
  static const Kernels table = [] {
    Kernels k = v4::table;
    k.name = "v4-bf16";
    k.pack_winograd_bf16 = v4_bf16::packed, k.winograd_bf16 = v4_bf16::convolved;
    return k;
  }();
  return table;
}

}  // namespace

const Kernels& kernels(const char* limit) {
  const std::string_view most = limit;
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  const bool any = most.empty() || most == "amx";
  if (has_v4 && __builtin_cpu_supports("avx512bf16") && (any || most == "v4-bf16")) return bf16_kernels();
  if (has_v4 && (any || most.starts_with("v4"))) return v4::table;
  if (has_v3 && most != "v2") return v3::table;
  return v2::table;
}

const Kernels* tile_kernels(const char* limit) {
  const std::string_view most = limit;
  static const bool there = ask_for_tiles();
  return there && (most.empty() || most == "amx") && &kernels(limit) == &bf16_kernels() ? &v4_amx::table : nullptr;
}
#else
namespace plain {
extern const Kernels table;
}
const Kernels& kernels(const char*) { return plain::table; }
const Kernels* tile_kernels(const char*) { return nullptr; }
#endif

}  // namespace igebm::engine::cpu
