// A vector of 16 floats, with the same operations, in the same order, and therefore the same bits,
// on AVX-512 (one register), AVX2 with FMA (two), NEON and WebAssembly (four) and plain C (an array).
//
// Rules that keep the bits equal: products are fused only through f32x16_fma / f32x16_fnma, sums
// over lanes only through f32x16_sum, and nothing uses an approximate instruction (rcp, rsqrt).
//
// A "mask16" holds one truth value a lane. "_n" forms touch only the first n lanes (0 <= n <= 16)
// in memory; a load fills the other lanes with zeros.
#ifndef WEFT_SIMD_H
#define WEFT_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define WEFT_AVX512 1
#include "simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define WEFT_AVX2 1
#include "simd_avx2.h"
#define WEFT_MASKED_F32 1
#include "simd_partial.h"
#elif defined(__aarch64__) && !defined(WEFT_PORTABLE)
#define WEFT_NEON 1
#include "simd_neon.h"
#include "simd_partial.h"
#elif defined(__wasm_simd128__)
#define WEFT_WASM 1
#include "simd_wasm.h"
#include "simd_partial.h"
#else
#include "simd_portable.h"
#endif

#include "simd_math.h"

// How the elements of a weight are stored.
enum { WEFT_F32 = 0, WEFT_F16 = 1, WEFT_BF16 = 2 };

// Sixteen elements of a stored weight at index i, widened.
static inline f32x16 f32x16_load_as(const void* p, int64_t i, int format) {
  switch (format) {
    case WEFT_F16: return f32x16_load_f16((const uint16_t*)p + i);
    case WEFT_BF16: return f32x16_load_bf16((const uint16_t*)p + i);
    default: return f32x16_load((const float*)p + i);
  }
}

// The first n of them; the other lanes are zero.
static inline f32x16 f32x16_load_as_n(const void* p, int64_t i, int n, int format) {
  switch (format) {
    case WEFT_F16: return f32x16_load_f16_n((const uint16_t*)p + i, n);
    case WEFT_BF16: return f32x16_load_bf16_n((const uint16_t*)p + i, n);
    default: return f32x16_load_n((const float*)p + i, n);
  }
}

#endif
