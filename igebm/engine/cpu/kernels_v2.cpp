#define IGEBM_ISA v2
#define IGEBM_STRING(name) "v2"
#define IGEBM_LANES 4
#include "igebm/engine/cpu/kernels.inl"
