// Integers on AVX-512, with VNNI where the processor has it. Included by integer_dot.h, which says what
// they mean.
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
