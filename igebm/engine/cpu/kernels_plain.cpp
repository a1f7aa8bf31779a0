// For the compiler's own target: 64-bit Arm, or whatever flags ask for. Its vectors, and how many of them it has.
#define IGEBM_ISA plain
#if defined(__aarch64__)
#define IGEBM_STRING(name) "neon"
#define IGEBM_LANES 4
#define IGEBM_REGISTERS 32
#elif defined(__AVX2__)
#define IGEBM_STRING(name) "plain"
#define IGEBM_LANES 8
#else
#define IGEBM_STRING(name) "plain"
#define IGEBM_LANES 4
#endif
#include "igebm/engine/cpu/kernels.inl"
