// What this build is: ranks compute the same bits when both of these agree (NUMERICS.md 10).
#include "simd.h"

const char* weft_instruction_set(void) { return WEFT_INSTRUCTION_SET; }

// Hash of the sources, the compiler and its flags, given by whoever compiles.
const char* weft_kernel_hash(void) { return WEFT_KERNEL_HASH; }
