// Writes keys and values into the blocks of the paged cache.
#include "kv_cache.h"

#include "integer_dot.h"
#include "simd.h"

enum { LARGEST_INT8 = 127 };

static inline int tail(int d, int head_dim) { return head_dim - d < 16 ? head_dim - d : 16; }

// Rounds x to int8 at the scale that is returned, and adds 128; where a number isn't finite, neither is
// the scale.
static float quantize(uint8_t* out, const float* x, int head_dim) {
  f32x16 largest = f32x16_zero(), poison = f32x16_zero();
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 value = f32x16_load_n(x + d, tail(d, head_dim));
    largest = f32x16_max(largest, f32x16_abs(value));
    poison = f32x16_fma(value, f32x16_zero(), poison);
  }
  const float not_finite = f32x16_sum(poison);
  const float scale = f32x16_hmax(largest) / LARGEST_INT8;
  // Below, the inverse would overflow.
  const int zero = not_finite != 0 || scale < 0x1p-120f;
  const f32x16 inverse = f32x16_set1(zero ? 0.0f : 1.0f / scale);
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 value = f32x16_load_n(x + d, not_finite != 0 ? 0 : tail(d, head_dim));
    int8_t rounded[16];
    f32x16_store_i8(rounded, f32x16_mul(value, inverse));
    for (int i = 0; i < 16; i++) out[d + i] = (uint8_t)(rounded[i] + 128);
  }
  return scale + not_finite;
}

static void narrow(uint16_t* out, const float* x, int head_dim) {
  for (int d = 0; d < head_dim; d += 16) {
    const int n = tail(d, head_dim);
    f32x16_store_bf16_n(out + d, f32x16_load_n(x + d, n), n);
  }
}

static void store_key_f32(kv_place place, const float* key, int head_dim) {
  float* out = (float*)place.keys + place.lane;
  for (int d = 0; d < head_dim; d++) out[d * KV_BLOCK] = key[d];
}

static void store_key_bf16(kv_place place, const float* key, int head_dim) {
  const int dim = kv_padded_dim(head_dim);
  uint16_t rounded[MAX_HEAD_DIM];
  narrow(rounded, key, head_dim);
  // What pads a head is multiplied with a query's zeros.
  for (int d = head_dim; d < dim; d++) rounded[d] = 0;
  char* out = place.keys + place.lane * 4;
  for (int d = 0; d < dim; d += 2) memcpy(out + d * 2 * KV_BLOCK, rounded + d, 4);
}

static void store_key_int8(kv_place place, const float* key, int head_dim) {
  uint8_t rounded[MAX_HEAD_DIM];
  const float scale = quantize(rounded, key, head_dim);
  char* out = place.keys + place.lane * 4;
  for (int d = 0; d < head_dim; d += 4) memcpy(out + d * KV_BLOCK, rounded + d, 4);
  memcpy(place.keys + kv_scales_offset(head_dim) + place.lane * 4, &scale, 4);
}

static void store_value_f32(kv_place place, const float* value, int head_dim) {
  float* out = (float*)place.values + (int64_t)place.lane * kv_padded_dim(head_dim);
  memcpy(out, value, (size_t)head_dim * sizeof(float));
}

static void store_value_bf16(kv_place place, const float* value, int head_dim) {
  uint16_t rounded[MAX_HEAD_DIM];
  narrow(rounded, value, head_dim);
  const int pair = place.lane / 2, which = place.lane % 2;
  uint16_t* out = (uint16_t*)place.values + (int64_t)pair * kv_padded_dim(head_dim) * 2 + which;
  for (int d = 0; d < head_dim; d++) out[d * 2] = rounded[d];
}

static void store_value_int8(kv_place place, const float* value, int head_dim) {
  uint8_t rounded[MAX_HEAD_DIM];
  const float scale = quantize(rounded, value, head_dim);
  const int quad = place.lane / 4, which = place.lane % 4;
  char* out = place.values + (int64_t)quad * kv_padded_dim(head_dim) * 4 + which;
  for (int d = 0; d < head_dim; d++) out[d * 4] = (char)rounded[d];
  memcpy(place.values + kv_scales_offset(head_dim) + place.lane * 4, &scale, 4);
}

void weft_store_key(int type, kv_place place, const float* key, int head_dim) {
  switch (type) {
    case KV_BF16: store_key_bf16(place, key, head_dim); return;
    case KV_INT8: store_key_int8(place, key, head_dim); return;
    default: store_key_f32(place, key, head_dim);
  }
}

void weft_store_value(int type, kv_place place, const float* value, int head_dim) {
  switch (type) {
    case KV_BF16: store_value_bf16(place, value, head_dim); return;
    case KV_INT8: store_value_int8(place, value, head_dim); return;
    default: store_value_f32(place, value, head_dim);
  }
}
