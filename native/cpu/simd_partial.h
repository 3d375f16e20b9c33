// The "_n" forms of sets that have no instruction for them: through a copy. Included by simd.h, which
// says what they mean; WEFT_MASKED_F32 is defined where f32 has instructions of its own.

#ifndef WEFT_MASKED_F32
static inline f32x16 f32x16_load_n(const float* p, int n) {
  float all[16] = {0};
  memcpy(all, p, (size_t)n * 4);
  return f32x16_load(all);
}
static inline void f32x16_store_n(float* p, f32x16 a, int n) {
  float all[16];
  f32x16_store(all, a);
  memcpy(p, all, (size_t)n * 4);
}
#endif

static inline f32x16 f32x16_load_bf16_n(const uint16_t* p, int n) {
  uint16_t all[16] = {0};
  memcpy(all, p, (size_t)n * 2);
  return f32x16_load_bf16(all);
}
static inline void f32x16_store_bf16_n(uint16_t* p, f32x16 a, int n) {
  uint16_t all[16];
  f32x16_store_bf16(all, a);
  memcpy(p, all, (size_t)n * 2);
}

static inline f32x16 f32x16_load_f16_n(const uint16_t* p, int n) {
  uint16_t all[16] = {0};
  memcpy(all, p, (size_t)n * 2);
  return f32x16_load_f16(all);
}
static inline void f32x16_store_f16_n(uint16_t* p, f32x16 a, int n) {
  uint16_t all[16];
  f32x16_store_f16(all, a);
  memcpy(p, all, (size_t)n * 2);
}
