#define IGEBM_ISA v4_bf16
#define IGEBM_STRING(name) "v4-bf16"
#define IGEBM_LANES 16
#define IGEBM_BF16
#include "igebm/engine/cpu/kernels.inl"
