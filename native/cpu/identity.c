// What this build is: ranks compute the same bits when both names agree (NUMERICS.md 10).
#include "amx.h"
#include "amx_check.h"
#include "simd.h"

#if defined(WEFT_AMX)
#define NAME "amx"
#else
#define NAME WEFT_INSTRUCTION_SET
#endif

#if defined(__AVX512BF16__) || (defined(WEFT_NEON) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC))
#define BF16 "+bf16"
#else
#define BF16 ""
#endif

#if defined(__AVX512VNNI__)
#define INT8 "+vnni"
#elif defined(WEFT_NEON) && defined(__ARM_FEATURE_MATMUL_INT8)
#define INT8 "+dotprod+i8mm"
#elif defined(WEFT_NEON) && defined(__ARM_FEATURE_DOTPROD)
#define INT8 "+dotprod"
#else
#define INT8 ""
#endif

// Name of the instruction set, with the instructions that not every processor of it has.
const char* weft_instruction_set(void) { return NAME BF16 INT8; }

// Hash of the sources, the compiler and its flags, given by whoever compiles.
const char* weft_kernel_hash(void) { return WEFT_KERNEL_HASH; }

// Asks the system for what the instructions need, for all threads of the process. Returns 0, -errno,
// or 1 when the instructions do not compute what they should.
int32_t weft_enable_instruction_set(void) {
#if defined(WEFT_AMX)
  const int refusal = amx_request_permission();
  return refusal != 0 ? refusal : !weft_amx_is_right();
#else
  return 0;
#endif
}
