// Integers on AVX2. Included by integer_dot.h, which says what they mean.
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
