// Integers on NEON, with its dot products where the processor has them. Included by integer_dot.h,
// which says what they mean.
typedef struct { int32x4_t q[4]; } i32x16;
typedef struct { uint8x16_t q[4]; } weight_quad;
typedef int8x16_t input_quad;

static inline f32x16 i32x16_to_f32(i32x16 a) {
  WEFT_QUARTERS(f32x16, vcvtq_f32_s32(a.q[i]));
}
static inline i32x16 i32x16_set1(int32_t a) { WEFT_QUARTERS(i32x16, vdupq_n_s32(a)); }
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
  WEFT_QUARTERS(i32x16, vaddq_s32(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) {
  WEFT_QUARTERS(i32x16, vmulq_s32(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_load(const int32_t* p) {
  WEFT_QUARTERS(i32x16, vld1q_s32(p + 4 * i));
}
static inline void i32x16_store(int32_t* p, i32x16 a) {
  for (int i = 0; i < 4; i++) vst1q_s32(p + 4 * i, a.q[i]);
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  WEFT_QUARTERS(i32x16, vmovl_s16(vld1_s16(p + 4 * i)));
}
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  int16_t wide[16];
  const uint8x16_t bytes = vld1q_u8(p);
  vst1q_s16(wide, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))));
  vst1q_s16(wide + 8, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))));
  return i32x16_load_i16(wide);
}

static inline weight_quad weight_quad_8(const uint8_t* p) {
  WEFT_QUARTERS(weight_quad, vld1q_u8(p + 16 * i));
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
#define WEFT_DOT_OFFSET 128
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
