// What multiplies a pair of k of a panel with a pair of one token, by instruction set. Inside one set
// the additions of an output are the same in every tile; sets differ in how they round them.
#ifndef WEFT_PANEL_SIMD_H
#define WEFT_PANEL_SIMD_H

#include "simd.h"

#if defined(__AVX512BF16__)

// A prepared activation.
typedef uint16_t panel_token;
// A pair of k for each of the 16 outputs.
typedef __m512i panel_pairs;

static inline panel_pairs panel_load(const uint16_t* p) { return _mm512_load_si512(p); }

// sum + w[0] * x[0] + w[1] * x[1]
static inline f32x16 panel_multiply(f32x16 sum, panel_pairs w, const panel_token* x) {
  int32_t pair;
  memcpy(&pair, x, sizeof pair);
  return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(pair));
}

static inline void panel_store_token(panel_token* p, f32x16 a, int n) {
  f32x16_store_bf16_n(p, a, n);
}

#else

// Rounded to bf16, but as wide as it is multiplied.
typedef float panel_token;
typedef struct {
  f32x16 first;
  f32x16 second;
} panel_pairs;

static inline panel_pairs panel_load(const uint16_t* p) {
  panel_pairs pairs;
#if defined(__AVX512F__)
  const __m512i all = _mm512_loadu_si512(p);
  pairs.first = _mm512_castsi512_ps(_mm512_slli_epi32(all, 16));
  pairs.second = _mm512_castsi512_ps(_mm512_and_si512(all, _mm512_set1_epi32((int)0xffff0000u)));
#elif defined(__AVX2__)
  const __m256i lo = _mm256_loadu_si256((const __m256i*)p);
  const __m256i hi = _mm256_loadu_si256((const __m256i*)(p + 16));
  const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
  pairs.first.lo = _mm256_castsi256_ps(_mm256_slli_epi32(lo, 16));
  pairs.first.hi = _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16));
  pairs.second.lo = _mm256_castsi256_ps(_mm256_and_si256(lo, upper));
  pairs.second.hi = _mm256_castsi256_ps(_mm256_and_si256(hi, upper));
#elif defined(WEFT_NEON)
  WEFT_UNROLL
  for (int i = 0; i < 4; i++) {
    const uint32x4_t all = vreinterpretq_u32_u16(vld1q_u16(p + 8 * i));
    pairs.first.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(all, 16));
    pairs.second.q[i] = vreinterpretq_f32_u32(vandq_u32(all, vdupq_n_u32(0xffff0000u)));
  }
#elif defined(WEFT_WASM)
  WEFT_UNROLL
  for (int i = 0; i < 4; i++) {
    const v128_t all = wasm_v128_load(p + 8 * i);
    pairs.first.q[i] = wasm_i32x4_shl(all, 16);
    pairs.second.q[i] = wasm_v128_and(all, wasm_i32x4_splat((int)0xffff0000u));
  }
#else
  float both[32];
  for (int i = 0; i < 32; i += 16) f32x16_store(both + i, f32x16_load_bf16(p + i));
  float first[16], second[16];
  for (int i = 0; i < 16; i++) first[i] = both[2 * i], second[i] = both[2 * i + 1];
  pairs.first = f32x16_load(first);
  pairs.second = f32x16_load(second);
#endif
  return pairs;
}

// A product of two bf16 is exact in f32: so this is the fused multiply-add, also where there is none.
static inline f32x16 panel_multiply(f32x16 sum, panel_pairs w, const panel_token* x) {
#if defined(__FMA__) || defined(WEFT_NEON) || defined(WEFT_WASM)
  sum = f32x16_fma(w.first, f32x16_set1(x[0]), sum);
  return f32x16_fma(w.second, f32x16_set1(x[1]), sum);
#else
  sum = f32x16_add(sum, f32x16_mul(w.first, f32x16_set1(x[0])));
  return f32x16_add(sum, f32x16_mul(w.second, f32x16_set1(x[1])));
#endif
}

static inline void panel_store_token(panel_token* p, f32x16 a, int n) {
  uint16_t narrow[16];
  f32x16_store_bf16(narrow, a);
  f32x16_store_n(p, f32x16_load_bf16(narrow), n);
}
#endif

#endif
