// Exact integer products of sixteen outputs' weights, unsigned bytes or nibbles, with a token's
// signed bytes. On every instruction set they are the same integers.
//
// A quad is four inputs: of weights 64 bytes, output o's four in bytes 4 o to 4 o + 3; of a token,
// four bytes. The set says what a loaded quad is; `bits` (8 or 4: the range of the weights) is a
// constant, as small weights may take a shorter way.
#ifndef WEFT_INTEGER_DOT_H
#define WEFT_INTEGER_DOT_H

#include "simd.h"

// i32x16_start(zeros, sum, bits): the sums before any product, -zero * sum.
// i32x16_dot(sums, weights, inputs, bits): sums + weights * inputs over a quad.
// f32x16_store_i8: rounds to the nearest integers, ties to even; they must lie in [-128, 127].
// weight_quad_8: a quad of weights from memory; weight_quads_4: two from 64 bytes of nibbles, the
// first in the low ones.

#if defined(WEFT_AVX512)
#include "integer_dot_avx512.h"
#elif defined(WEFT_AVX2)
#include "integer_dot_avx2.h"
#elif defined(WEFT_NEON)
#include "integer_dot_neon.h"
#elif defined(WEFT_WASM)
#include "integer_dot_wasm.h"
#else
#include "integer_dot_portable.h"
#endif

#ifndef WEFT_DOT_FROM_MEMORY
static inline i32x16 i32x16_dot_at(i32x16 sums, weight_quad w, const int8_t* x, const int bits) {
  return i32x16_dot(sums, w, input_quad_load(x), bits);
}

typedef struct { i32x16 all; } nibble_sums;
static inline nibble_sums nibble_sums_start(i32x16 start) { return (nibble_sums){start}; }
static inline void nibble_sums_dot(nibble_sums* sums, const uint8_t* p, const int8_t* x) {
  weight_quad w[2];
  weight_quads_4(w, p);
  sums->all = i32x16_dot_at(sums->all, w[0], x, 4);
  sums->all = i32x16_dot_at(sums->all, w[1], x + 4, 4);
}
static inline i32x16 nibble_sums_total(nibble_sums sums) { return sums.all; }
#endif

// What a set's products of bytes leave out of each weight.
#ifndef WEFT_DOT_OFFSET
#define WEFT_DOT_OFFSET 0
#endif

static inline i32x16 i32x16_start(i32x16 zeros, int32_t sum, const int bits) {
  const i32x16 shares = i32x16_mul(zeros, i32x16_set1(-sum));
  if (WEFT_DOT_OFFSET == 0 || bits == 4) return shares;
  return i32x16_add(shares, i32x16_set1(WEFT_DOT_OFFSET * sum));
}

#endif
