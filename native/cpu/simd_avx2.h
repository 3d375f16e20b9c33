// f32x16 on AVX2 with FMA: lanes 0..7 and 8..15. Included by simd.h, which says what it means.
#include <immintrin.h>

#define WEFT_INSTRUCTION_SET "avx2"

typedef struct { __m256 lo, hi; } f32x16;
typedef struct { __m256 lo, hi; } mask16;

#define WEFT_F32X16(lower, upper) ((f32x16){(lower), (upper)})

static inline __m256i weft_first8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline mask16 mask16_first(int n) {
  return (mask16){_mm256_castsi256_ps(weft_first8(n)), _mm256_castsi256_ps(weft_first8(n - 8))};
}

static inline f32x16 f32x16_set1(float a) {
  return WEFT_F32X16(_mm256_set1_ps(a), _mm256_set1_ps(a));
}
static inline f32x16 f32x16_zero(void) {
  return WEFT_F32X16(_mm256_setzero_ps(), _mm256_setzero_ps());
}

static inline f32x16 f32x16_load(const float* p) {
  return WEFT_F32X16(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline f32x16 f32x16_load_n(const float* p, int n) {
  return WEFT_F32X16(_mm256_maskload_ps(p, weft_first8(n)),
                     n > 8 ? _mm256_maskload_ps(p + 8, weft_first8(n - 8)) : _mm256_setzero_ps());
}
static inline void f32x16_store(float* p, f32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
static inline void f32x16_store_n(float* p, f32x16 a, int n) {
  _mm256_maskstore_ps(p, weft_first8(n), a.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, weft_first8(n - 8), a.hi);
}

static inline __m256 weft_widen8_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
static inline f32x16 f32x16_load_bf16(const uint16_t* p) {
  return WEFT_F32X16(weft_widen8_bf16(p), weft_widen8_bf16(p + 8));
}
static inline f32x16 f32x16_load_f16(const uint16_t* p) {
  return WEFT_F32X16(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
                     _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8))));
}

static inline __m256i weft_narrow8_bf16(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
static inline void f32x16_store_bf16(uint16_t* p, f32x16 a) {
  const __m256i packed = _mm256_packus_epi32(weft_narrow8_bf16(a.lo), weft_narrow8_bf16(a.hi));
  // packus works inside each 128-bit half: put the quarters back in order.
  _mm256_storeu_si256((__m256i*)p, _mm256_permute4x64_epi64(packed, 0xd8));
}
static inline void f32x16_store_f16(uint16_t* p, f32x16 a) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi));
}
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi));
}
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi));
}
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi));
}
static inline f32x16 f32x16_sqrt(f32x16 a) {
  return WEFT_F32X16(_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi));
}
// a * b + c
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
  return WEFT_F32X16(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
// c - a * b
static inline f32x16 f32x16_fnma(f32x16 a, f32x16 b, f32x16 c) {
  return WEFT_F32X16(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi));
}
// a > b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi));
}
// a < b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi));
}
static inline f32x16 f32x16_abs(f32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return WEFT_F32X16(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
static inline f32x16 f32x16_neg(f32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return WEFT_F32X16(_mm256_xor_ps(sign, a.lo), _mm256_xor_ps(sign, a.hi));
}
// Magnitude of a, sign of b.
static inline f32x16 f32x16_copysign(f32x16 a, f32x16 b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return WEFT_F32X16(_mm256_or_ps(_mm256_andnot_ps(sign, a.lo), _mm256_and_ps(sign, b.lo)),
                     _mm256_or_ps(_mm256_andnot_ps(sign, a.hi), _mm256_and_ps(sign, b.hi)));
}
// To the nearest integer, ties to even.
static inline f32x16 f32x16_round(f32x16 a) {
  return WEFT_F32X16(_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                     _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#define WEFT_COMPARE(name, predicate)                              \
  static inline mask16 name(f32x16 a, f32x16 b) {                  \
    return (mask16){_mm256_cmp_ps(a.lo, b.lo, predicate),          \
                    _mm256_cmp_ps(a.hi, b.hi, predicate)};         \
  }
WEFT_COMPARE(f32x16_lt, _CMP_LT_OQ)
WEFT_COMPARE(f32x16_le, _CMP_LE_OQ)
WEFT_COMPARE(f32x16_gt, _CMP_GT_OQ)
WEFT_COMPARE(f32x16_ge, _CMP_GE_OQ)
WEFT_COMPARE(f32x16_eq, _CMP_EQ_OQ)
#undef WEFT_COMPARE
// m ? a : b
static inline f32x16 f32x16_select(mask16 m, f32x16 a, f32x16 b) {
  return WEFT_F32X16(_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi));
}
// Lane truth values as bits, lane 0 lowest.
static inline uint32_t mask16_bits(mask16 m) {
  return (uint32_t)_mm256_movemask_ps(m.lo) | (uint32_t)_mm256_movemask_ps(m.hi) << 8;
}

static inline __m256 weft_scale8(__m256 a, __m256 n) {
  const __m256i exponent = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  const __m256i rest = _mm256_sub_epi32(exponent, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return _mm256_mul_ps(_mm256_mul_ps(a, first), second);
}
// a * 2^n, rounded once as only the second factor can leave the normal range (a near 1); n holds
// integers in [-160, 160].
static inline f32x16 f32x16_scale(f32x16 a, f32x16 n) {
  return WEFT_F32X16(weft_scale8(a.lo, n.lo), weft_scale8(a.hi, n.hi));
}

static inline __m256 weft_split8(__m256 a, __m256* exponent) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i shifted = _mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f2aaaab));
  *exponent = _mm256_cvtepi32_ps(_mm256_srai_epi32(shifted, 23));
  return _mm256_castsi256_ps(_mm256_sub_epi32(
      bits, _mm256_and_si256(shifted, _mm256_set1_epi32((int)0xff800000u))));
}
// Splits positive normal a into mantissa in [2/3, 4/3) and exponent: a = mantissa * 2^exponent.
static inline f32x16 f32x16_split(f32x16 a, f32x16* exponent) {
  f32x16 mantissa;
  mantissa.lo = weft_split8(a.lo, &exponent->lo);
  mantissa.hi = weft_split8(a.hi, &exponent->hi);
  return mantissa;
}

// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
static inline float f32x16_sum(f32x16 a) {
  const __m256 b = _mm256_add_ps(a.lo, a.hi);
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}

// Largest lane, in the same order.
static inline float f32x16_hmax(f32x16 a) {
  const __m256 b = _mm256_max_ps(a.lo, a.hi);
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

// Keeps a in a register: without it a compiler may load it again for each use.
static inline void f32x16_keep(f32x16* a) { __asm__("" : "+x"(a->lo), "+x"(a->hi)); }

// Unrolls the loop that follows, so that arrays of vectors become registers.
#define WEFT_UNROLL _Pragma("GCC unroll 16")

// Accumulators that a register tile may hold.
#define WEFT_TILE 4

// Lane j < count is f32x16_sum(a[j]), the others are zero.
static inline f32x16 f32x16_sums(const f32x16* a, int count) {
  float sums[16] = {0};
  for (int j = 0; j < count; j++) sums[j] = f32x16_sum(a[j]);
  return f32x16_load(sums);
}
