#define IGEBM_ISA v4
#define IGEBM_STRING(name) "v4"
#define IGEBM_LANES 16
#include "igebm/engine/cpu/kernels.inl"
