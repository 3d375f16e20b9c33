// f32x16 on NEON of aarch64: four registers. Included by simd.h, which says what it means.
#include <arm_neon.h>

#define WEFT_INSTRUCTION_SET "neon"

typedef struct { float32x4_t q[4]; } f32x16;
typedef struct { uint32x4_t q[4]; } mask16;

#define WEFT_QUARTERS(type, value)                                                 \
  do {                                                                             \
    type r;                                                                        \
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) r.q[i] = (value);          \
    return r;                                                                      \
  } while (0)

static inline mask16 mask16_first(int n) {
  static const int32_t lanes[4] = {0, 1, 2, 3};
  const int32x4_t first = vld1q_s32(lanes);
  WEFT_QUARTERS(mask16, vcltq_s32(first, vdupq_n_s32(n - 4 * i)));
}

static inline f32x16 f32x16_set1(float a) { WEFT_QUARTERS(f32x16, vdupq_n_f32(a)); }
static inline f32x16 f32x16_zero(void) { return f32x16_set1(0.0f); }

static inline f32x16 f32x16_load(const float* p) { WEFT_QUARTERS(f32x16, vld1q_f32(p + 4 * i)); }
static inline void f32x16_store(float* p, f32x16 a) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.q[i]);
}

static inline f32x16 f32x16_load_bf16(const uint16_t* p) {
  WEFT_QUARTERS(f32x16, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
static inline f32x16 f32x16_load_f16(const uint16_t* p) {
  WEFT_QUARTERS(f32x16, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}

static inline uint16x4_t weft_narrow4_bf16(float32x4_t a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16);
}
static inline void f32x16_store_bf16(uint16_t* p, f32x16 a) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, weft_narrow4_bf16(a.q[i]));
}
static inline void f32x16_store_f16(uint16_t* p, f32x16 a) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.q[i])));
}

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vaddq_f32(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vsubq_f32(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vmulq_f32(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vdivq_f32(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_sqrt(f32x16 a) { WEFT_QUARTERS(f32x16, vsqrtq_f32(a.q[i])); }
// a * b + c
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_QUARTERS(f32x16, vfmaq_f32(c.q[i], a.q[i], b.q[i]));
}
// c - a * b
static inline f32x16 f32x16_fnma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_QUARTERS(f32x16, vfmsq_f32(c.q[i], a.q[i], b.q[i]));
}
// a > b ? a : b, hence b where either is NaN, which NEON's own maximum would return
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
// a < b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
static inline f32x16 f32x16_abs(f32x16 a) { WEFT_QUARTERS(f32x16, vabsq_f32(a.q[i])); }
static inline f32x16 f32x16_neg(f32x16 a) { WEFT_QUARTERS(f32x16, vnegq_f32(a.q[i])); }
// Magnitude of a, sign of b.
static inline f32x16 f32x16_copysign(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vbslq_f32(vdupq_n_u32(0x80000000), b.q[i], a.q[i]));
}
// To the nearest integer, ties to even.
static inline f32x16 f32x16_round(f32x16 a) { WEFT_QUARTERS(f32x16, vrndnq_f32(a.q[i])); }

static inline mask16 f32x16_lt(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, vcltq_f32(a.q[i], b.q[i]));
}
static inline mask16 f32x16_le(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, vcleq_f32(a.q[i], b.q[i]));
}
static inline mask16 f32x16_gt(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, vcgtq_f32(a.q[i], b.q[i]));
}
static inline mask16 f32x16_ge(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, vcgeq_f32(a.q[i], b.q[i]));
}
static inline mask16 f32x16_eq(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, vceqq_f32(a.q[i], b.q[i]));
}
// m ? a : b
static inline f32x16 f32x16_select(mask16 m, f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, vbslq_f32(m.q[i], a.q[i], b.q[i]));
}
// Lane truth values as bits, lane 0 lowest.
static inline uint32_t mask16_bits(mask16 m) {
  static const uint32_t weights[4] = {1, 2, 4, 8};
  const uint32x4_t bits = vld1q_u32(weights);
  uint32_t r = 0;
  for (int i = 0; i < 4; i++) r |= vaddvq_u32(vandq_u32(m.q[i], bits)) << (4 * i);
  return r;
}

static inline float32x4_t weft_scale4(float32x4_t a, float32x4_t n) {
  const int32x4_t exponent = vcvtnq_s32_f32(n), bias = vdupq_n_s32(127);
  const int32x4_t half = vshrq_n_s32(exponent, 1), rest = vsubq_s32(exponent, half);
  const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
  return vmulq_f32(vmulq_f32(a, first), second);
}
// a * 2^n, rounded once as only the second factor can leave the normal range (a near 1); n holds
// integers in [-160, 160].
static inline f32x16 f32x16_scale(f32x16 a, f32x16 n) {
  WEFT_QUARTERS(f32x16, weft_scale4(a.q[i], n.q[i]));
}

// Splits positive normal a into mantissa in [2/3, 4/3) and exponent: a = mantissa * 2^exponent.
static inline f32x16 f32x16_split(f32x16 a, f32x16* exponent) {
  f32x16 mantissa;
  for (int i = 0; i < 4; i++) {
    const int32x4_t bits = vreinterpretq_s32_f32(a.q[i]);
    const int32x4_t shifted = vsubq_s32(bits, vdupq_n_s32(0x3f2aaaab));
    const int32x4_t power = vandq_s32(shifted, vdupq_n_s32((int32_t)0xff800000u));
    exponent->q[i] = vcvtq_f32_s32(vshrq_n_s32(shifted, 23));
    mantissa.q[i] = vreinterpretq_f32_s32(vsubq_s32(bits, power));
  }
  return mantissa;
}

// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
static inline float f32x16_sum(f32x16 a) {
  const float32x4_t b = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
  const float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
  return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}

// Largest lane, in the same order.
static inline float f32x16_hmax(f32x16 a) {
  const float32x4_t low = vbslq_f32(vcgtq_f32(a.q[0], a.q[2]), a.q[0], a.q[2]);
  const float32x4_t high = vbslq_f32(vcgtq_f32(a.q[1], a.q[3]), a.q[1], a.q[3]);
  const float32x4_t b = vbslq_f32(vcgtq_f32(low, high), low, high);
  const float32x2_t left = vget_low_f32(b), right = vget_high_f32(b);
  const float32x2_t c = vbsl_f32(vcgt_f32(left, right), left, right);
  const float x = vget_lane_f32(c, 0), y = vget_lane_f32(c, 1);
  return x > y ? x : y;
}

// Keeps a in registers: without it a compiler may load it again for each use.
static inline void f32x16_keep(f32x16* a) {
  __asm__("" : "+w"(a->q[0]), "+w"(a->q[1]), "+w"(a->q[2]), "+w"(a->q[3]));
}

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
