#define IGEBM_ISA v4_amx
#define IGEBM_STRING(name) "amx"
#define IGEBM_LANES 16
#define IGEBM_BF16
#define IGEBM_AMX
#include "igebm/engine/cpu/kernels.inl"
