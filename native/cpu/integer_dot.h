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

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

typedef __m512i i32x16;
typedef struct { __m512i value; } weight_quad;

static inline f32x16 i32x16_to_f32(i32x16 a) { return _mm512_cvtepi32_ps(a); }
static inline i32x16 i32x16_set1(int32_t a) { return _mm512_set1_epi32(a); }
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) { return _mm512_add_epi32(a, b); }
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) { return _mm512_mullo_epi32(a, b); }
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)p));
}
static inline i32x16 i32x16_load(const int32_t* p) { return _mm512_loadu_si512(p); }
static inline void i32x16_store(int32_t* p, i32x16 a) { _mm512_storeu_si512(p, a); }

static inline weight_quad weight_quad_8(const uint8_t* p) {
  return (weight_quad){_mm512_loadu_si512(p)};
}
static inline void weight_quads_4(weight_quad quads[2], const uint8_t* p) {
  const __m512i nibbles = _mm512_set1_epi8(15), both = _mm512_loadu_si512(p);
  quads[0].value = _mm512_and_si512(both, nibbles);
  quads[1].value = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibbles);
}
// The bytes of the quad at place `i`, widened.
static inline f32x16 weight_quad_to_f32(weight_quad quad, const int i) {
  return _mm512_cvtepi32_ps(
      _mm512_and_si512(_mm512_srli_epi32(quad.value, 8 * i), _mm512_set1_epi32(255)));
}
static inline void weight_quad_store(uint8_t* p, weight_quad quad) {
  _mm512_storeu_si512(p, quad.value);
}

static inline void f32x16_store_i8(int8_t* p, f32x16 a) {
  _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

#ifdef __AVX512VNNI__
typedef __m512i input_quad;
static inline input_quad input_quad_load(const int8_t* p) {
  int32_t bytes;
  memcpy(&bytes, p, 4);
  return _mm512_set1_epi32(bytes);
}
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  (void)bits;
  // The intrinsic makes gcc 12 copy each sum from register to register.
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(w.value), "v"(x));
  return sums;
}

#define WEFT_DOT_FROM_MEMORY 1
typedef struct { char bytes[4]; } weft_quad_bytes;
static inline i32x16 i32x16_dot_at(i32x16 sums, weight_quad w, const int8_t* x, const int bits) {
  (void)bits;
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sums)
          : "v"(w.value), "m"(*(const weft_quad_bytes*)x));
  return sums;
}

// High nibbles stay where they are in their bytes: their sums are sixteen times as large.
typedef struct { i32x16 low, high; } nibble_sums;
static inline nibble_sums nibble_sums_start(i32x16 start) {
  return (nibble_sums){start, _mm512_setzero_si512()};
}
static inline void nibble_sums_dot(nibble_sums* sums, const uint8_t* p, const int8_t* x) {
  const __m512i both = _mm512_loadu_si512(p), nibbles = _mm512_set1_epi8(15);
  const weight_quad low = {_mm512_and_si512(both, nibbles)};
  const weight_quad high = {_mm512_andnot_si512(nibbles, both)};
  sums->low = i32x16_dot_at(sums->low, low, x, 4);
  sums->high = i32x16_dot_at(sums->high, high, x + 4, 4);
}
static inline i32x16 nibble_sums_total(nibble_sums sums) {
  return _mm512_add_epi32(sums.low, _mm512_srai_epi32(sums.high, 4));
}
#else
// Sixteen-bit products of the even and of the odd bytes: a product of bytes added in sixteen bits
// (maddubs) could saturate.
typedef struct { __m512i even, odd; } input_quad;
static inline input_quad input_quad_load(const int8_t* p) {
  int32_t bytes;
  memcpy(&bytes, p, 4);
  const __m512i all = _mm512_set1_epi32(bytes);
  return (input_quad){_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8), _mm512_srai_epi16(all, 8)};
}
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  (void)bits;
  const __m512i even = _mm512_and_si512(w.value, _mm512_set1_epi16(255));
  const __m512i odd = _mm512_srli_epi16(w.value, 8);
  sums = _mm512_add_epi32(sums, _mm512_madd_epi16(even, x.even));
  return _mm512_add_epi32(sums, _mm512_madd_epi16(odd, x.odd));
}
#endif

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

typedef struct { __m256i lo, hi; } i32x16;
typedef struct { __m256i lo, hi; } weight_quad;
typedef struct { __m256i even, odd, all; } input_quad;

static inline f32x16 i32x16_to_f32(i32x16 a) {
  return (f32x16){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
static inline i32x16 i32x16_set1(int32_t a) {
  return (i32x16){_mm256_set1_epi32(a), _mm256_set1_epi32(a)};
}
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
  return (i32x16){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) {
  return (i32x16){_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)};
}
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  return (i32x16){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)),
                  _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8)))};
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  return (i32x16){_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)p)),
                  _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
static inline i32x16 i32x16_load(const int32_t* p) {
  return (i32x16){_mm256_loadu_si256((const __m256i*)p),
                  _mm256_loadu_si256((const __m256i*)(p + 8))};
}
static inline void i32x16_store(int32_t* p, i32x16 a) {
  _mm256_storeu_si256((__m256i*)p, a.lo);
  _mm256_storeu_si256((__m256i*)(p + 8), a.hi);
}

static inline weight_quad weight_quad_8(const uint8_t* p) {
  return (weight_quad){_mm256_loadu_si256((const __m256i*)p),
                       _mm256_loadu_si256((const __m256i*)(p + 32))};
}
static inline void weight_quads_4(weight_quad quads[2], const uint8_t* p) {
  const __m256i nibbles = _mm256_set1_epi8(15);
  const weight_quad both = weight_quad_8(p);
  quads[0] = (weight_quad){_mm256_and_si256(both.lo, nibbles), _mm256_and_si256(both.hi, nibbles)};
  quads[1] = (weight_quad){_mm256_and_si256(_mm256_srli_epi16(both.lo, 4), nibbles),
                           _mm256_and_si256(_mm256_srli_epi16(both.hi, 4), nibbles)};
}
static inline f32x16 weight_quad_to_f32(weight_quad quad, const int i) {
  const __m256i byte = _mm256_set1_epi32(255);
  return (f32x16){
      _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(quad.lo, 8 * i), byte)),
      _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(quad.hi, 8 * i), byte))};
}
static inline void weight_quad_store(uint8_t* p, weight_quad quad) {
  _mm256_storeu_si256((__m256i*)p, quad.lo);
  _mm256_storeu_si256((__m256i*)(p + 32), quad.hi);
}

static inline void f32x16_store_i8(int8_t* p, f32x16 a) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  const __m256i sorted = _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0));
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(sorted),
                                                _mm256_extracti128_si256(sorted, 1)));
}

static inline input_quad input_quad_load(const int8_t* p) {
  int32_t bytes;
  memcpy(&bytes, p, 4);
  const __m256i all = _mm256_set1_epi32(bytes);
  return (input_quad){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8),
                      all};
}
static inline __m256i weft_dot8(__m256i sums, __m256i w, input_quad x, const int bits) {
  // Two products of a nibble and a byte fit in sixteen bits. Those of bytes would saturate, so that
  // even and odd bytes are widened.
  if (bits == 4) {
    const __m256i pairs = _mm256_maddubs_epi16(w, x.all);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  const __m256i even = _mm256_and_si256(w, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(w, 8);
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, x.even));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(odd, x.odd));
}
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  return (i32x16){weft_dot8(sums.lo, w.lo, x, bits), weft_dot8(sums.hi, w.hi, x, bits)};
}

#elif defined(WEFT_NEON)

typedef struct { int32x4_t q[4]; } i32x16;
typedef struct { uint8x16_t q[4]; } weight_quad;
typedef int8x16_t input_quad;

#define WEFT_INTEGER_QUARTERS(type, value)                                    \
  do {                                                                        \
    type r;                                                                   \
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) r.q[i] = (value);     \
    return r;                                                                 \
  } while (0)

static inline f32x16 i32x16_to_f32(i32x16 a) {
  WEFT_INTEGER_QUARTERS(f32x16, vcvtq_f32_s32(a.q[i]));
}
static inline i32x16 i32x16_set1(int32_t a) { WEFT_INTEGER_QUARTERS(i32x16, vdupq_n_s32(a)); }
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
  WEFT_INTEGER_QUARTERS(i32x16, vaddq_s32(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) {
  WEFT_INTEGER_QUARTERS(i32x16, vmulq_s32(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_load(const int32_t* p) {
  WEFT_INTEGER_QUARTERS(i32x16, vld1q_s32(p + 4 * i));
}
static inline void i32x16_store(int32_t* p, i32x16 a) {
  for (int i = 0; i < 4; i++) vst1q_s32(p + 4 * i, a.q[i]);
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  WEFT_INTEGER_QUARTERS(i32x16, vmovl_s16(vld1_s16(p + 4 * i)));
}
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  int16_t wide[16];
  const uint8x16_t bytes = vld1q_u8(p);
  vst1q_s16(wide, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))));
  vst1q_s16(wide + 8, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))));
  return i32x16_load_i16(wide);
}

static inline weight_quad weight_quad_8(const uint8_t* p) {
  WEFT_INTEGER_QUARTERS(weight_quad, vld1q_u8(p + 16 * i));
}
static inline void weight_quads_4(weight_quad quads[2], const uint8_t* p) {
  for (int i = 0; i < 4; i++) {
    const uint8x16_t both = vld1q_u8(p + 16 * i);
    quads[0].q[i] = vandq_u8(both, vdupq_n_u8(15));
    quads[1].q[i] = vshrq_n_u8(both, 4);
  }
}
static inline f32x16 weight_quad_to_f32(weight_quad quad, const int i) {
  const uint32x4_t byte = vdupq_n_u32(255);
  const int32x4_t right = vdupq_n_s32(-8 * i);
  f32x16 r;
  _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) {
    const uint32x4_t words = vreinterpretq_u32_u8(quad.q[j]);
    r.q[j] = vcvtq_f32_u32(vandq_u32(vshlq_u32(words, right), byte));
  }
  return r;
}
static inline void weight_quad_store(uint8_t* p, weight_quad quad) {
  for (int i = 0; i < 4; i++) vst1q_u8(p + 16 * i, quad.q[i]);
}
static inline void f32x16_store_i8(int8_t* p, f32x16 a) {
  int16x4_t words[4];
  for (int i = 0; i < 4; i++) words[i] = vmovn_s32(vcvtnq_s32_f32(a.q[i]));
  vst1q_s8(p, vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])),
                          vmovn_s16(vcombine_s16(words[2], words[3]))));
}

static inline input_quad input_quad_load(const int8_t* p) {
  int32_t bytes;
  memcpy(&bytes, p, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(bytes));
}
static inline int32x4_t weft_dot4(int32x4_t sums, int8x16_t w, int8x16_t x) {
#ifdef __ARM_FEATURE_DOTPROD
  return vdotq_s32(sums, w, x);
#else
  // Two products of signed bytes fit in sixteen bits.
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  const int16x8_t high = vmull_s8(vget_high_s8(w), vget_high_s8(x));
  return vpadalq_s16(sums, vpaddq_s16(low, high));
#endif
}
// Weights are taken as signed: bytes less 128, of which 128 times the inputs is given back.
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  WEFT_UNROLL
  for (int i = 0; i < 4; i++) {
    if (bits == 4) {
      sums.q[i] = weft_dot4(sums.q[i], vreinterpretq_s8_u8(w.q[i]), x);
    } else {
      const uint8x16_t flipped = veorq_u8(w.q[i], vdupq_n_u8(128));
      sums.q[i] = weft_dot4(sums.q[i], vreinterpretq_s8_u8(flipped), x);
    }
  }
  return sums;
}
#undef WEFT_INTEGER_QUARTERS

#elif defined(__wasm_simd128__)
#include "integer_dot_wasm.h"

#else

typedef struct { int32_t lane[16]; } i32x16;
typedef struct { uint8_t byte[64]; } weight_quad;
typedef struct { int8_t byte[4]; } input_quad;

static inline f32x16 i32x16_to_f32(i32x16 a) {
  float lanes[16];
  for (int o = 0; o < 16; o++) lanes[o] = (float)a.lane[o];
  return f32x16_load(lanes);
}
static inline i32x16 i32x16_set1(int32_t a) {
  i32x16 r;
  for (int o = 0; o < 16; o++) r.lane[o] = a;
  return r;
}
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
  for (int o = 0; o < 16; o++) a.lane[o] += b.lane[o];
  return a;
}
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) {
  for (int o = 0; o < 16; o++) a.lane[o] *= b.lane[o];
  return a;
}
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  i32x16 r;
  for (int o = 0; o < 16; o++) r.lane[o] = p[o];
  return r;
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  i32x16 r;
  for (int o = 0; o < 16; o++) r.lane[o] = p[o];
  return r;
}
static inline i32x16 i32x16_load(const int32_t* p) {
  i32x16 r;
  memcpy(&r, p, sizeof r);
  return r;
}
static inline void i32x16_store(int32_t* p, i32x16 a) { memcpy(p, &a, sizeof a); }

static inline weight_quad weight_quad_8(const uint8_t* p) {
  weight_quad quad;
  memcpy(&quad, p, sizeof quad);
  return quad;
}
static inline void weight_quads_4(weight_quad quads[2], const uint8_t* p) {
  for (int i = 0; i < 64; i++) {
    quads[0].byte[i] = p[i] & 15;
    quads[1].byte[i] = p[i] >> 4;
  }
}
static inline f32x16 weight_quad_to_f32(weight_quad quad, const int i) {
  float lanes[16];
  for (int o = 0; o < 16; o++) lanes[o] = quad.byte[4 * o + i];
  return f32x16_load(lanes);
}
static inline void weight_quad_store(uint8_t* p, weight_quad quad) {
  memcpy(p, &quad, sizeof quad);
}

static inline void f32x16_store_i8(int8_t* p, f32x16 a) {
  float lanes[16];
  f32x16_store(lanes, f32x16_round(a));
  for (int i = 0; i < 16; i++) p[i] = (int8_t)lanes[i];
}

static inline input_quad input_quad_load(const int8_t* p) {
  input_quad quad;
  memcpy(&quad, p, sizeof quad);
  return quad;
}
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  (void)bits;
  for (int o = 0; o < 16; o++) {
    for (int i = 0; i < 4; i++) sums.lane[o] += w.byte[4 * o + i] * x.byte[i];
  }
  return sums;
}

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

// What products of bytes leave out of each weight.
#if defined(WEFT_NEON)
enum { WEFT_DOT_OFFSET = 128 };
#else
enum { WEFT_DOT_OFFSET = 0 };
#endif

static inline i32x16 i32x16_start(i32x16 zeros, int32_t sum, const int bits) {
  const i32x16 shares = i32x16_mul(zeros, i32x16_set1(-sum));
  if (WEFT_DOT_OFFSET == 0 || bits == 4) return shares;
  return i32x16_add(shares, i32x16_set1(WEFT_DOT_OFFSET * sum));
}

#endif
