// Integers on WebAssembly's 128-bit vectors. Included by integer_dot.h, which says what they mean.
typedef struct { v128_t q[4]; } i32x16;
typedef struct { v128_t q[4]; } weight_quad;
// Sixteen-bit numbers, of which pairs are multiplied and added: the even and the odd bytes.
typedef struct { v128_t even, odd; } input_quad;

static inline f32x16 i32x16_to_f32(i32x16 a) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_convert_i32x4(a.q[i]));
}
static inline i32x16 i32x16_set1(int32_t a) { WEFT_QUARTERS(i32x16, wasm_i32x4_splat(a)); }
static inline i32x16 i32x16_add(i32x16 a, i32x16 b) {
  WEFT_QUARTERS(i32x16, wasm_i32x4_add(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_mul(i32x16 a, i32x16 b) {
  WEFT_QUARTERS(i32x16, wasm_i32x4_mul(a.q[i], b.q[i]));
}
static inline i32x16 i32x16_load_u8(const uint8_t* p) {
  WEFT_QUARTERS(i32x16, wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(
                            wasm_v128_load32_zero(p + 4 * i))));
}
static inline i32x16 i32x16_load_i16(const int16_t* p) {
  WEFT_QUARTERS(i32x16, wasm_i32x4_load16x4(p + 4 * i));
}
static inline i32x16 i32x16_load(const int32_t* p) {
  WEFT_QUARTERS(i32x16, wasm_v128_load(p + 4 * i));
}
static inline void i32x16_store(int32_t* p, i32x16 a) { memcpy(p, &a, sizeof a); }

static inline weight_quad weight_quad_8(const uint8_t* p) {
  WEFT_QUARTERS(weight_quad, wasm_v128_load(p + 16 * i));
}
static inline void weight_quads_4(weight_quad quads[2], const uint8_t* p) {
  for (int i = 0; i < 4; i++) {
    const v128_t both = wasm_v128_load(p + 16 * i);
    quads[0].q[i] = wasm_v128_and(both, wasm_i8x16_splat(15));
    quads[1].q[i] = wasm_u8x16_shr(both, 4);
  }
}
static inline f32x16 weight_quad_to_f32(weight_quad quad, const int byte) {
  WEFT_QUARTERS(f32x16, wasm_f32x4_convert_i32x4(wasm_v128_and(
                            wasm_u32x4_shr(quad.q[i], 8 * byte), wasm_i32x4_splat(255))));
}
static inline void weight_quad_store(uint8_t* p, weight_quad quad) { memcpy(p, &quad, sizeof quad); }

static inline void f32x16_store_i8(int8_t* p, f32x16 a) {
  v128_t q[4];
  for (int i = 0; i < 4; i++) q[i] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(a.q[i]));
  wasm_v128_store(p, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(q[0], q[1]),
                                             wasm_i16x8_narrow_i32x4(q[2], q[3])));
}

static inline input_quad input_quad_load(const int8_t* p) {
  const v128_t all = wasm_v128_load32_splat(p);
  return (input_quad){wasm_i16x8_shr(wasm_i16x8_shl(all, 8), 8), wasm_i16x8_shr(all, 8)};
}
static inline i32x16 i32x16_dot(i32x16 sums, weight_quad w, input_quad x, const int bits) {
  (void)bits;
  for (int i = 0; i < 4; i++) {
    const v128_t even = wasm_v128_and(w.q[i], wasm_i16x8_splat(255));
    const v128_t odd = wasm_u16x8_shr(w.q[i], 8);
    sums.q[i] = wasm_i32x4_add(sums.q[i], wasm_i32x4_dot_i16x8(even, x.even));
    sums.q[i] = wasm_i32x4_add(sums.q[i], wasm_i32x4_dot_i16x8(odd, x.odd));
  }
  return sums;
}
