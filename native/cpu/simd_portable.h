// f32x16 in plain C: an array. Included by simd.h, which says what the operations mean. It is the
// reference that the other two are tested against; fmaf must be a true fused multiply-add (libm's
// is).
#include <math.h>

#define WEFT_INSTRUCTION_SET "portable"

typedef struct { float lane[16]; } f32x16;
typedef struct { uint8_t lane[16]; } mask16;

#define WEFT_LANES(type, value)                            \
  do {                                                     \
    type r;                                                \
    for (int i = 0; i < 16; i++) r.lane[i] = (value);      \
    return r;                                              \
  } while (0)

static inline uint32_t weft_bits(float a) {
  uint32_t bits;
  memcpy(&bits, &a, 4);
  return bits;
}
static inline float weft_float(uint32_t bits) {
  float a;
  memcpy(&a, &bits, 4);
  return a;
}

static inline mask16 mask16_first(int n) { WEFT_LANES(mask16, i < n); }

static inline f32x16 f32x16_set1(float a) { WEFT_LANES(f32x16, a); }
static inline f32x16 f32x16_zero(void) { return f32x16_set1(0.0f); }

static inline f32x16 f32x16_load(const float* p) { WEFT_LANES(f32x16, p[i]); }
static inline f32x16 f32x16_load_n(const float* p, int n) { WEFT_LANES(f32x16, i < n ? p[i] : 0); }
static inline void f32x16_store_n(float* p, f32x16 a, int n) {
  for (int i = 0; i < n; i++) p[i] = a.lane[i];
}
static inline void f32x16_store(float* p, f32x16 a) { f32x16_store_n(p, a, 16); }

static inline float weft_from_bf16(uint16_t a) { return weft_float((uint32_t)a << 16); }
static inline uint16_t weft_to_bf16(float a) {
  const uint32_t bits = weft_bits(a);
  if (a != a) return (uint16_t)((bits | 0x400000) >> 16);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static inline float weft_from_f16(uint16_t a) {
  const uint32_t sign = (uint32_t)(a & 0x8000) << 16;
  const uint32_t exponent = (a >> 10) & 0x1f;
  const uint32_t fraction = a & 0x3ff;
  if (exponent == 0) {
    return weft_float(sign | weft_bits((float)fraction * 0x1p-24f));
  }
  if (exponent == 31) {
    return weft_float(sign | 0x7f800000 | (fraction ? 0x400000 | fraction << 13 : 0));
  }
  return weft_float(sign | (exponent + 112) << 23 | fraction << 13);
}
static inline uint16_t weft_to_f16(float a) {
  const uint32_t bits = weft_bits(a);
  const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and more round to infinity
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    return (uint16_t)(sign | (weft_bits(weft_float(magnitude) + 0.5f) - 0x3f000000));
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

static inline f32x16 f32x16_load_bf16(const uint16_t* p) {
  WEFT_LANES(f32x16, weft_from_bf16(p[i]));
}
static inline f32x16 f32x16_load_bf16_n(const uint16_t* p, int n) {
  WEFT_LANES(f32x16, i < n ? weft_from_bf16(p[i]) : 0);
}
static inline f32x16 f32x16_load_f16(const uint16_t* p) {
  WEFT_LANES(f32x16, weft_from_f16(p[i]));
}
static inline f32x16 f32x16_load_f16_n(const uint16_t* p, int n) {
  WEFT_LANES(f32x16, i < n ? weft_from_f16(p[i]) : 0);
}
static inline void f32x16_store_bf16_n(uint16_t* p, f32x16 a, int n) {
  for (int i = 0; i < n; i++) p[i] = weft_to_bf16(a.lane[i]);
}
static inline void f32x16_store_bf16(uint16_t* p, f32x16 a) { f32x16_store_bf16_n(p, a, 16); }
static inline void f32x16_store_f16_n(uint16_t* p, f32x16 a, int n) {
  for (int i = 0; i < n; i++) p[i] = weft_to_f16(a.lane[i]);
}
static inline void f32x16_store_f16(uint16_t* p, f32x16 a) { f32x16_store_f16_n(p, a, 16); }

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) { WEFT_LANES(f32x16, a.lane[i] + b.lane[i]); }
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) { WEFT_LANES(f32x16, a.lane[i] - b.lane[i]); }
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) { WEFT_LANES(f32x16, a.lane[i] * b.lane[i]); }
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) { WEFT_LANES(f32x16, a.lane[i] / b.lane[i]); }
static inline f32x16 f32x16_sqrt(f32x16 a) { WEFT_LANES(f32x16, sqrtf(a.lane[i])); }
// a * b + c
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_LANES(f32x16, fmaf(a.lane[i], b.lane[i], c.lane[i]));
}
// c - a * b
static inline f32x16 f32x16_fnma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_LANES(f32x16, fmaf(-a.lane[i], b.lane[i], c.lane[i]));
}
// a > b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
  WEFT_LANES(f32x16, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]);
}
// a < b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
  WEFT_LANES(f32x16, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]);
}
static inline f32x16 f32x16_abs(f32x16 a) { WEFT_LANES(f32x16, fabsf(a.lane[i])); }
static inline f32x16 f32x16_neg(f32x16 a) { WEFT_LANES(f32x16, -a.lane[i]); }
// Magnitude of a, sign of b.
static inline f32x16 f32x16_copysign(f32x16 a, f32x16 b) {
  WEFT_LANES(f32x16, copysignf(a.lane[i], b.lane[i]));
}
// To the nearest integer, ties to even.
static inline f32x16 f32x16_round(f32x16 a) { WEFT_LANES(f32x16, rintf(a.lane[i])); }

static inline mask16 f32x16_lt(f32x16 a, f32x16 b) { WEFT_LANES(mask16, a.lane[i] < b.lane[i]); }
static inline mask16 f32x16_le(f32x16 a, f32x16 b) { WEFT_LANES(mask16, a.lane[i] <= b.lane[i]); }
static inline mask16 f32x16_gt(f32x16 a, f32x16 b) { WEFT_LANES(mask16, a.lane[i] > b.lane[i]); }
static inline mask16 f32x16_ge(f32x16 a, f32x16 b) { WEFT_LANES(mask16, a.lane[i] >= b.lane[i]); }
static inline mask16 f32x16_eq(f32x16 a, f32x16 b) { WEFT_LANES(mask16, a.lane[i] == b.lane[i]); }
// m ? a : b
static inline f32x16 f32x16_select(mask16 m, f32x16 a, f32x16 b) {
  WEFT_LANES(f32x16, m.lane[i] ? a.lane[i] : b.lane[i]);
}
// Lane truth values as bits, lane 0 lowest.
static inline uint32_t mask16_bits(mask16 m) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; i++) bits |= (uint32_t)m.lane[i] << i;
  return bits;
}

static inline float weft_scale1(float a, float n) {
  const int exponent = n == n ? (int)n : 0;
  const int half = exponent >> 1;
  return a * weft_float((uint32_t)(half + 127) << 23) *
         weft_float((uint32_t)(exponent - half + 127) << 23);
}
// a * 2^n, rounded once as only the second factor can leave the normal range (a near 1); n holds
// integers in [-160, 160].
static inline f32x16 f32x16_scale(f32x16 a, f32x16 n) {
  WEFT_LANES(f32x16, weft_scale1(a.lane[i], n.lane[i]));
}

// Splits positive normal a into mantissa in [2/3, 4/3) and exponent: a = mantissa * 2^exponent.
static inline f32x16 f32x16_split(f32x16 a, f32x16* exponent) {
  f32x16 mantissa;
  for (int i = 0; i < 16; i++) {
    const uint32_t bits = weft_bits(a.lane[i]);
    const uint32_t shifted = bits - 0x3f2aaaabu;
    exponent->lane[i] = (float)((int32_t)shifted >> 23);
    mantissa.lane[i] = weft_float(bits - (shifted & 0xff800000u));
  }
  return mantissa;
}

// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
static inline float f32x16_sum(f32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) a.lane[i] += a.lane[i + width];
  }
  return a.lane[0];
}

// Largest lane, in the same order.
static inline float f32x16_hmax(f32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) {
      a.lane[i] = a.lane[i] > a.lane[i + width] ? a.lane[i] : a.lane[i + width];
    }
  }
  return a.lane[0];
}

// Keeps a in a register: without it a compiler may load it again for each use.
static inline void f32x16_keep(f32x16* a) { (void)a; }

// Nothing is gained by unrolling loops over arrays.
#define WEFT_UNROLL

// Accumulators that a register tile may hold.
#define WEFT_TILE 4

// Lane j < count is f32x16_sum(a[j]), the others are zero.
static inline f32x16 f32x16_sums(const f32x16* a, int count) {
  float sums[16] = {0};
  for (int j = 0; j < count; j++) sums[j] = f32x16_sum(a[j]);
  return f32x16_load(sums);
}

#undef WEFT_LANES
