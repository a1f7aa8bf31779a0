#define IGEBM_ISA v3
#define IGEBM_STRING(name) "v3"
#define IGEBM_LANES 8
#include "igebm/engine/cpu/kernels.inl"
