// Integers on plain C. Included by integer_dot.h, which says what they mean.
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
