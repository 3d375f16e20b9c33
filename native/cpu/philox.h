// Philox4x32-10, a counter-based generator: a block of four random words is a function of a 128-bit
// counter and a 64-bit key, so any word can be had without those before it.
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#ifndef WEFT_PHILOX_H
#define WEFT_PHILOX_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// Eight counters are worked on in a vector, two vectors at a time: 64 words.
enum { PHILOX_WORDS = 64, PHILOX_COUNTERS = 16, PHILOX_VECTORS = 2 };

typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

// Elements of two vectors by number; clang has no __builtin_shuffle, older gcc nothing else.
#if defined(__clang__)
#define PHILOX_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PHILOX_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (i32x8){__VA_ARGS__})
#endif

// High and low halves of the 64-bit products.
static inline void philox_multiply(const u32x8* a, uint32_t factor, u32x8* high, u32x8* low) {
#if defined(__AVX2__)
  const __m256i v = (__m256i)*a, f = _mm256_set1_epi32((int)factor);
  const __m256i even = _mm256_mul_epu32(v, f);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), f);
  *high = (u32x8)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *low = (u32x8)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#else
  for (int i = 0; i < 8; i++) {
    const uint64_t product = (uint64_t)(*a)[i] * factor;
    (*high)[i] = (uint32_t)(product >> 32);
    (*low)[i] = (uint32_t)product;
  }
#endif
}

// Words of the counters {first + i, c1, c2, c3}, i from 0 to 15, to words[4 * i .. 4 * i + 3].
static inline void philox_words(uint32_t first, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t key0,
                                uint32_t key1, uint32_t* words) {
  u32x8 x[PHILOX_VECTORS][4];
  for (int v = 0; v < PHILOX_VECTORS; v++) {
    // In this order the transposition below, which works inside 128-bit halves, ends in order.
    x[v][0] = (u32x8){0, 2, 4, 6, 1, 3, 5, 7} + (first + 8 * (uint32_t)v);
    x[v][1] = (u32x8){0} + c1;
    x[v][2] = (u32x8){0} + c2;
    x[v][3] = (u32x8){0} + c3;
  }
  for (int round = 0; round < 10; round++) {
    for (int v = 0; v < PHILOX_VECTORS; v++) {
      u32x8 high0, low0, high2, low2;
      philox_multiply(&x[v][0], 0xd2511f53u, &high0, &low0);
      philox_multiply(&x[v][2], 0xcd9e8d57u, &high2, &low2);
      x[v][0] = high2 ^ x[v][1] ^ key0;
      x[v][1] = low2;
      x[v][2] = high0 ^ x[v][3] ^ key1;
      x[v][3] = low0;
    }
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  for (int v = 0; v < PHILOX_VECTORS; v++) {
    const u32x8 a = PHILOX_SHUFFLE(x[v][0], x[v][1], 0, 8, 1, 9, 4, 12, 5, 13);
    const u32x8 b = PHILOX_SHUFFLE(x[v][2], x[v][3], 0, 8, 1, 9, 4, 12, 5, 13);
    const u32x8 c = PHILOX_SHUFFLE(x[v][0], x[v][1], 2, 10, 3, 11, 6, 14, 7, 15);
    const u32x8 d = PHILOX_SHUFFLE(x[v][2], x[v][3], 2, 10, 3, 11, 6, 14, 7, 15);
    const u32x8 rows[4] = {
        PHILOX_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13),
        PHILOX_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15),
        PHILOX_SHUFFLE(c, d, 0, 1, 8, 9, 4, 5, 12, 13),
        PHILOX_SHUFFLE(c, d, 2, 3, 10, 11, 6, 7, 14, 15),
    };
    memcpy(words + 32 * v, rows, sizeof rows);
  }
}

#undef PHILOX_SHUFFLE

#endif
