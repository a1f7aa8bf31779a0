// Winograd's algorithm by products of bfloat16 vectors. All else v4's loops do (kernels.cpp): compiled twice, they
// would take a minute and a half.
#include <immintrin.h>

#include <utility>

#include "igebm/engine/cpu/kernels.h"

#define IGEBM_ISA v4_bf16
#define IGEBM_LANES 16
#define IGEBM_BF16
#define IGEBM_INLINE inline __attribute__((always_inline))

namespace igebm::engine::cpu::v4_bf16 {
namespace {

#include "igebm/engine/cpu/vectors.inl"
#include "igebm/engine/cpu/winograd.inl"

}  // namespace

extern const decltype(Kernels::pack_winograd_bf16) packed;
extern const decltype(Kernels::winograd_bf16) convolved;
const decltype(Kernels::pack_winograd_bf16) packed = pack_winograd_bf16;
const decltype(Kernels::winograd_bf16) convolved = winograd_bf16;

}  // namespace igebm::engine::cpu::v4_bf16
