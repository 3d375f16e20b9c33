// Activations of the feed-forward layers.
#include "activation.h"

#include "pool.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const float* x;
  int64_t x_stride;
  int64_t size;
} activation_context;

static void silu_and_mul_task(void* argument, int64_t begin, int64_t end) {
  const activation_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    float* out = c->out + row * c->out_stride;
    const float* gate = c->x + row * c->x_stride;
    const float* up = gate + c->size;
    for (int64_t i = 0; i < c->size; i += 16) {
      const int n = c->size - i < 16 ? (int)(c->size - i) : 16;
      const f32x16 y = f32x16_silu(f32x16_load_n(gate + i, n));
      f32x16_store_n(out + i, f32x16_mul(y, f32x16_load_n(up + i, n)), n);
    }
  }
}

static void gelu_task(void* argument, int64_t begin, int64_t end) {
  const activation_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    float* out = c->out + row * c->out_stride;
    const float* x = c->x + row * c->x_stride;
    for (int64_t i = 0; i < c->size; i += 16) {
      const int n = c->size - i < 16 ? (int)(c->size - i) : 16;
      f32x16_store_n(out + i, f32x16_gelu_tanh(f32x16_load_n(x + i, n)), n);
    }
  }
}

// Rows a piece: enough elements that handing it out does not show.
static int64_t activation_grain(int64_t size) { return 4096 / (size + 1) + 1; }

void weft_silu_and_mul(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                       int32_t x_stride, int32_t rows, int32_t size) {
  activation_context context = {out, out_stride, x, x_stride, size};
  weft_pool_run(pool, silu_and_mul_task, &context, rows, activation_grain(size));
}

void weft_gelu(weft_pool* pool, float* out, int32_t out_stride, const float* x, int32_t x_stride,
               int32_t rows, int32_t size) {
  activation_context context = {out, out_stride, x, x_stride, size};
  weft_pool_run(pool, gelu_task, &context, rows, activation_grain(size));
}
