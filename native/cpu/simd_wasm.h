// f32x16 on WebAssembly's 128-bit vectors: four of them. Included by simd.h, which says what it means.
// Products are fused by relaxed_madd. An engine may round its product; who makes the instance asks
// weft_fuses_products and refuses such an engine, so that the bits are those of the other sets.
#include <wasm_simd128.h>

#define WEFT_INSTRUCTION_SET "wasm-simd128+fma"

typedef struct { v128_t q[4]; } f32x16;
typedef struct { v128_t q[4]; } mask16;

#define WEFT_QUARTERS(type, value)                    \
  do {                                                \
    type r;                                           \
    _Pragma("unroll") for (int i = 0; i < 4; i++) r.q[i] = (value); \
    return r;                                         \
  } while (0)

// Written in bytes: clang 14 knows an older encoding of these instructions. The operands are pushed,
// so that nothing but the result's place is touched.
static inline v128_t weft_madd4(v128_t a, v128_t b, v128_t c) {
  v128_t r;
  __asm__("local.get %1\nlocal.get %2\nlocal.get %3\n.byte 0xfd,0x85,0x02\nlocal.set %0"
          : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}
static inline v128_t weft_nmadd4(v128_t a, v128_t b, v128_t c) {
  v128_t r;
  __asm__("local.get %1\nlocal.get %2\nlocal.get %3\n.byte 0xfd,0x86,0x02\nlocal.set %0"
          : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}

static inline v128_t weft_first4(int n) {
  return wasm_i32x4_gt(wasm_i32x4_splat(n), wasm_i32x4_const(0, 1, 2, 3));
}
static inline mask16 mask16_first(int n) { WEFT_QUARTERS(mask16, weft_first4(n - 4 * i)); }

static inline f32x16 f32x16_set1(float a) { WEFT_QUARTERS(f32x16, wasm_f32x4_splat(a)); }
static inline f32x16 f32x16_zero(void) { return f32x16_set1(0.0f); }

static inline f32x16 f32x16_load(const float* p) {
  WEFT_QUARTERS(f32x16, wasm_v128_load(p + 4 * i));
}
static inline void f32x16_store(float* p, f32x16 a) {
  for (int i = 0; i < 4; i++) wasm_v128_store(p + 4 * i, a.q[i]);
}

static inline f32x16 f32x16_load_bf16(const uint16_t* p) {
  WEFT_QUARTERS(f32x16, wasm_i32x4_shl(wasm_u32x4_load16x4(p + 4 * i), 16));
}

// Exponents are moved from 5 to 8 bits by a product with 2^112, which subnormal numbers survive too.
static inline v128_t weft_widen4_f16(v128_t half) {
  const v128_t sign = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x8000)), 16);
  const v128_t magnitude = wasm_v128_and(half, wasm_i32x4_splat(0x7fff));
  const v128_t shifted = wasm_i32x4_shl(magnitude, 13);
  const v128_t number = wasm_f32x4_mul(shifted, wasm_f32x4_splat(0x1p112f));
  const v128_t quiet = wasm_v128_and(wasm_i32x4_gt(magnitude, wasm_i32x4_splat(0x7c00)),
                                     wasm_i32x4_splat(0x400000));
  const v128_t special =
      wasm_v128_or(wasm_v128_or(shifted, wasm_i32x4_splat(0x7f800000)), quiet);
  const v128_t is_special = wasm_i32x4_ge(magnitude, wasm_i32x4_splat(0x7c00));
  return wasm_v128_or(sign, wasm_v128_bitselect(special, number, is_special));
}
static inline f32x16 f32x16_load_f16(const uint16_t* p) {
  WEFT_QUARTERS(f32x16, weft_widen4_f16(wasm_u32x4_load16x4(p + 4 * i)));
}

// Two quarters of 32-bit lanes that hold 16-bit numbers, side by side.
static inline void weft_store_narrow(uint16_t* p, const v128_t* q) {
  wasm_v128_store(p, wasm_u16x8_narrow_i32x4(q[0], q[1]));
  wasm_v128_store(p + 8, wasm_u16x8_narrow_i32x4(q[2], q[3]));
}
static inline v128_t weft_narrow4_bf16(v128_t a) {
  const v128_t odd = wasm_v128_and(wasm_u32x4_shr(a, 16), wasm_i32x4_splat(1));
  const v128_t rounded = wasm_i32x4_add(a, wasm_i32x4_add(odd, wasm_i32x4_splat(0x7fff)));
  const v128_t quiet = wasm_v128_or(a, wasm_i32x4_splat(0x400000));
  return wasm_u32x4_shr(wasm_v128_bitselect(quiet, rounded, wasm_f32x4_ne(a, a)), 16);
}
static inline void f32x16_store_bf16(uint16_t* p, f32x16 a) {
  v128_t q[4];
  for (int i = 0; i < 4; i++) q[i] = weft_narrow4_bf16(a.q[i]);
  weft_store_narrow(p, q);
}
static inline v128_t weft_narrow4_f16(v128_t a) {
  const v128_t sign = wasm_v128_and(wasm_u32x4_shr(a, 16), wasm_i32x4_splat(0x8000));
  const v128_t magnitude = wasm_v128_and(a, wasm_i32x4_splat(0x7fffffff));
  const v128_t odd = wasm_v128_and(wasm_u32x4_shr(magnitude, 13), wasm_i32x4_splat(1));
  const v128_t rounded = wasm_i32x4_add(magnitude, wasm_i32x4_add(odd, wasm_i32x4_splat(0xfff)));
  const v128_t normal = wasm_u32x4_shr(wasm_i32x4_sub(rounded, wasm_i32x4_splat(0x38000000)), 13);
  // Adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
  const v128_t subnormal = wasm_i32x4_sub(wasm_f32x4_add(magnitude, wasm_f32x4_splat(0.5f)),
                                          wasm_i32x4_splat(0x3f000000));
  const v128_t nan = wasm_v128_or(
      wasm_i32x4_splat(0x7e00),
      wasm_v128_and(wasm_u32x4_shr(magnitude, 13), wasm_i32x4_splat(0x3ff)));
  v128_t half = wasm_v128_bitselect(subnormal, normal,
                                    wasm_i32x4_lt(magnitude, wasm_i32x4_splat(0x38800000)));
  half = wasm_v128_bitselect(wasm_i32x4_splat(0x7c00), half,
                             wasm_i32x4_ge(magnitude, wasm_i32x4_splat(0x477ff000)));
  half = wasm_v128_bitselect(nan, half, wasm_i32x4_gt(magnitude, wasm_i32x4_splat(0x7f800000)));
  return wasm_v128_or(sign, half);
}
static inline void f32x16_store_f16(uint16_t* p, f32x16 a) {
  v128_t q[4];
  for (int i = 0; i < 4; i++) q[i] = weft_narrow4_f16(a.q[i]);
  weft_store_narrow(p, q);
}

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_add(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_sub(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_sub(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_mul(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_mul(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_div(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_div(a.q[i], b.q[i]));
}
static inline f32x16 f32x16_sqrt(f32x16 a) { WEFT_QUARTERS(f32x16, wasm_f32x4_sqrt(a.q[i])); }
// a * b + c
static inline f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_QUARTERS(f32x16, weft_madd4(a.q[i], b.q[i], c.q[i]));
}
// c - a * b
static inline f32x16 f32x16_fnma(f32x16 a, f32x16 b, f32x16 c) {
  WEFT_QUARTERS(f32x16, weft_nmadd4(a.q[i], b.q[i], c.q[i]));
}
// a > b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_max(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_pmax(b.q[i], a.q[i]));
}
// a < b ? a : b, hence b where either is NaN
static inline f32x16 f32x16_min(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_pmin(b.q[i], a.q[i]));
}
static inline f32x16 f32x16_abs(f32x16 a) { WEFT_QUARTERS(f32x16, wasm_f32x4_abs(a.q[i])); }
static inline f32x16 f32x16_neg(f32x16 a) { WEFT_QUARTERS(f32x16, wasm_f32x4_neg(a.q[i])); }
// Magnitude of a, sign of b.
static inline f32x16 f32x16_copysign(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16,
                wasm_v128_bitselect(b.q[i], a.q[i], wasm_i32x4_splat((int)0x80000000u)));
}
// To the nearest integer, ties to even.
static inline f32x16 f32x16_round(f32x16 a) { WEFT_QUARTERS(f32x16, wasm_f32x4_nearest(a.q[i])); }

static inline mask16 f32x16_lt(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, wasm_f32x4_lt(a.q[i], b.q[i]));
}
static inline mask16 f32x16_le(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, wasm_f32x4_le(a.q[i], b.q[i]));
}
static inline mask16 f32x16_gt(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, wasm_f32x4_gt(a.q[i], b.q[i]));
}
static inline mask16 f32x16_ge(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, wasm_f32x4_ge(a.q[i], b.q[i]));
}
static inline mask16 f32x16_eq(f32x16 a, f32x16 b) {
  WEFT_QUARTERS(mask16, wasm_f32x4_eq(a.q[i], b.q[i]));
}
// m ? a : b
static inline f32x16 f32x16_select(mask16 m, f32x16 a, f32x16 b) {
  WEFT_QUARTERS(f32x16, wasm_v128_bitselect(a.q[i], b.q[i], m.q[i]));
}
// Lane truth values as bits, lane 0 lowest.
static inline uint32_t mask16_bits(mask16 m) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; i++) bits |= (uint32_t)wasm_i32x4_bitmask(m.q[i]) << (4 * i);
  return bits;
}

static inline v128_t weft_scale4(v128_t a, v128_t n) {
  const v128_t exponent = wasm_i32x4_trunc_sat_f32x4(n);
  const v128_t half = wasm_i32x4_shr(exponent, 1);
  const v128_t rest = wasm_i32x4_sub(exponent, half);
  const v128_t bias = wasm_i32x4_splat(127);
  const v128_t first = wasm_i32x4_shl(wasm_i32x4_add(half, bias), 23);
  const v128_t second = wasm_i32x4_shl(wasm_i32x4_add(rest, bias), 23);
  return wasm_f32x4_mul(wasm_f32x4_mul(a, first), second);
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
    const v128_t shifted = wasm_i32x4_sub(a.q[i], wasm_i32x4_splat(0x3f2aaaab));
    exponent->q[i] = wasm_f32x4_convert_i32x4(wasm_i32x4_shr(shifted, 23));
    mantissa.q[i] =
        wasm_i32x4_sub(a.q[i], wasm_v128_and(shifted, wasm_i32x4_splat((int)0xff800000u)));
  }
  return mantissa;
}

// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
static inline float f32x16_sum(f32x16 a) {
  const v128_t c = wasm_f32x4_add(wasm_f32x4_add(a.q[0], a.q[2]), wasm_f32x4_add(a.q[1], a.q[3]));
  const v128_t d = wasm_f32x4_add(c, wasm_i32x4_shuffle(c, c, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(d, 0) + wasm_f32x4_extract_lane(d, 1);
}

static inline v128_t weft_max4(v128_t a, v128_t b) { return wasm_f32x4_pmax(b, a); }
// Largest lane, in the same order.
static inline float f32x16_hmax(f32x16 a) {
  const v128_t c = weft_max4(weft_max4(a.q[0], a.q[2]), weft_max4(a.q[1], a.q[3]));
  const v128_t d = weft_max4(c, wasm_i32x4_shuffle(c, c, 2, 3, 2, 3));
  const float first = wasm_f32x4_extract_lane(d, 0), second = wasm_f32x4_extract_lane(d, 1);
  return first > second ? first : second;
}

// The engine allocates registers.
static inline void f32x16_keep(f32x16* a) { (void)a; }

// Unrolls the loop that follows, so that arrays of vectors become registers.
#define WEFT_UNROLL _Pragma("unroll")

// Accumulators that a register tile may hold.
#define WEFT_TILE 4

// Lane j < count is f32x16_sum(a[j]), the others are zero.
static inline f32x16 f32x16_sums(const f32x16* a, int count) {
  float sums[16] = {0};
  for (int j = 0; j < count; j++) sums[j] = f32x16_sum(a[j]);
  return f32x16_load(sums);
}
