// f32x16 on AVX-512: one register. Included by simd.h, which says what the operations mean.
#include <immintrin.h>

#define WEFT_INSTRUCTION_SET "avx512"

typedef __m512 f32x16;
typedef __mmask16 mask16;

static inline mask16 mask16_first(int n) { return (mask16)((1u << n) - 1); }

static inline f32x16 f32x16_set1(float a) { return _mm512_set1_ps(a); }
static inline f32x16 f32x16_zero(void) { return _mm512_setzero_ps(); }

static inline f32x16 f32x16_load(const float* p) { return _mm512_loadu_ps(p); }
static inline f32x16 f32x16_load_n(const float* p, int n) {
  return _mm512_maskz_loadu_ps(mask16_first(n), p);
}
static inline void f32x16_store(float* p, f32x16 a) { _mm512_storeu_ps(p, a); }
static inline void f32x16_store_n(float* p, f32x16 a, int n) {
  _mm512_mask_storeu_ps(p, mask16_first(n), a);
}

static inline f32x16 f32x16_widen_bf16(__m256i a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
}
static inline f32x16 f32x16_load_bf16(const uint16_t* p) {
  return f32x16_widen_bf16(_mm256_loadu_si256((const __m256i*)p));
}
static inline f32x16 f32x16_load_bf16_n(const uint16_t* p, int n) {
  return f32x16_widen_bf16(_mm256_maskz_loadu_epi16(mask16_first(n), p));
}
static inline f32x16 f32x16_load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
}
static inline f32x16 f32x16_load_f16_n(const uint16_t* p, int n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask16_first(n), p));
}

static inline __m256i f32x16_narrow_bf16(f32x16 a) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
static inline void f32x16_store_bf16(uint16_t* p, f32x16 a) {
  _mm256_storeu_si256((__m256i*)p, f32x16_narrow_bf16(a));
}
static inline void f32x16_store_bf16_n(uint16_t* p, f32x16 a, int n) {
  _mm256_mask_storeu_epi16(p, mask16_first(n), f32x16_narrow_bf16(a));
}
static inline __m256i f32x16_narrow_f16(f32x16 a) {
  return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline void f32x16_store_f16(uint16_t* p, f32x16 a) {
  _mm256_storeu_si256((__m256i*)p, f32x16_narrow_f16(a));
}
static inline void f32x16_store_f16_n(uint16_t* p, f32x16 a, int n) {
  _mm256_mask_storeu_epi16(p, mask16_first(n), f32x16_narrow_f16(a));
}

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) { return _mm512_div_ps(a, b); }
static inline f32x16 f32x16_sqrt(f32x16 a) { return _mm512_sqrt_ps(a); }
// a * b + c
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a, b, c); }
// c - a * b
static inline f32x16 f32x16_fnma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fnmadd_ps(a, b, c); }
// a > b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) { return _mm512_max_ps(a, b); }
// a < b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) { return _mm512_min_ps(a, b); }
static inline f32x16 f32x16_abs(f32x16 a) { return _mm512_abs_ps(a); }
static inline f32x16 f32x16_neg(f32x16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
// Magnitude of a, sign of b.
static inline f32x16 f32x16_copysign(f32x16 a, f32x16 b) {
  const __m512 sign = _mm512_set1_ps(-0.0f);
  return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
// To the nearest integer, ties to even.
static inline f32x16 f32x16_round(f32x16 a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline mask16 f32x16_lt(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline mask16 f32x16_le(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline mask16 f32x16_gt(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
static inline mask16 f32x16_ge(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
static inline mask16 f32x16_eq(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
// m ? a : b
static inline f32x16 f32x16_select(mask16 m, f32x16 a, f32x16 b) {
  return _mm512_mask_blend_ps(m, b, a);
}
// Lane truth values as bits, lane 0 lowest.
static inline uint32_t mask16_bits(mask16 m) { return m; }

// a * 2^n, rounded once; n holds integers in [-160, 160].
static inline f32x16 f32x16_scale(f32x16 a, f32x16 n) { return _mm512_scalef_ps(a, n); }

// Splits positive normal a into mantissa in [2/3, 4/3) and exponent: a = mantissa * 2^exponent.
static inline f32x16 f32x16_split(f32x16 a, f32x16* exponent) {
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i shifted = _mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f2aaaab));
  *exponent = _mm512_cvtepi32_ps(_mm512_srai_epi32(shifted, 23));
  return _mm512_castsi512_ps(_mm512_sub_epi32(
      bits, _mm512_and_si512(shifted, _mm512_set1_epi32((int)0xff800000u))));
}

// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
static inline float f32x16_sum(f32x16 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}

// Largest lane, in the same order.
static inline float f32x16_hmax(f32x16 a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

// Keeps a in a register: without it a compiler may load it again for each use.
static inline void f32x16_keep(f32x16* a) { __asm__("" : "+v"(*a)); }

// Unrolls the loop that follows, so that arrays of vectors become registers.
#define WEFT_UNROLL _Pragma("GCC unroll 16")

// Accumulators that a register tile may hold.
#define WEFT_TILE 16

// Lane j < count is f32x16_sum(a[j]), the others are zero: up to sixteen sums at once, each with
// the additions of f32x16_sum.
static inline __attribute__((always_inline)) f32x16 f32x16_sums(const f32x16* vectors, int count) {
  f32x16 a[16], eighths[8], quarters[4];
  WEFT_UNROLL
  for (int j = 0; j < 16; j++) a[j] = j < count ? vectors[j] : f32x16_zero();
  // Lanes i and i + 8 of two vectors; four lanes are written as one quarter q of the register.
#define WEFT_FOLD_8(a, b)                                        \
  _mm512_add_ps(_mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(1, 0, 1, 0)), \
                _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(3, 2, 3, 2)))
#define WEFT_FOLD_4(a, b)                                        \
  _mm512_add_ps(_mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(2, 0, 2, 0)), \
                _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(3, 1, 3, 1)))
#define WEFT_FOLD_2(a, b)                                   \
  _mm512_add_ps(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 1, 0)), \
                _mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 2, 3, 2)))
#define WEFT_FOLD_1(a, b)                                   \
  _mm512_add_ps(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)), \
                _mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)))
  WEFT_UNROLL
  for (int i = 0; i < 4; i++) {
    eighths[2 * i] = WEFT_FOLD_8(a[i], a[i + 4]);
    eighths[2 * i + 1] = WEFT_FOLD_8(a[i + 8], a[i + 12]);
    // The quarters hold four lanes each of a[i], a[i + 4], a[i + 8], a[i + 12].
    quarters[i] = WEFT_FOLD_4(eighths[2 * i], eighths[2 * i + 1]);
  }
  return WEFT_FOLD_1(WEFT_FOLD_2(quarters[0], quarters[1]), WEFT_FOLD_2(quarters[2], quarters[3]));
#undef WEFT_FOLD_8
#undef WEFT_FOLD_4
#undef WEFT_FOLD_2
#undef WEFT_FOLD_1
}
