// Row-wise softmax. One thread reduces a row, in one order.
#include "softmax.h"

#include "pool.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const float* x;
  int64_t x_stride;
  int64_t size;
} softmax_context;

void weft_softmax_row(float* out, const float* x, int64_t size) {
  const f32x16 lowest = f32x16_set1(-__builtin_inff());
  f32x16 largest = lowest;
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    const f32x16 value = f32x16_select(mask16_first(n), f32x16_load_n(x + i, n), lowest);
    largest = f32x16_max(largest, value);
  }
  const f32x16 maximum = f32x16_set1(f32x16_hmax(largest));
  f32x16 sums = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    const f32x16 e = f32x16_exp(f32x16_sub(f32x16_load_n(x + i, n), maximum));
    sums = f32x16_add(sums, f32x16_select(mask16_first(n), e, f32x16_zero()));
    f32x16_store_n(out + i, e, n);
  }
  const f32x16 total = f32x16_set1(f32x16_sum(sums));
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    f32x16_store_n(out + i, f32x16_div(f32x16_load_n(out + i, n), total), n);
  }
}

static void softmax_task(void* argument, int64_t begin, int64_t end) {
  const softmax_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    weft_softmax_row(c->out + row * c->out_stride, c->x + row * c->x_stride, c->size);
  }
}

// The softmax of each row; out may be x.
void weft_softmax(weft_pool* pool, float* out, int32_t out_stride, const float* x, int32_t x_stride,
                  int32_t rows, int32_t size) {
  softmax_context context = {out, out_stride, x, x_stride, size};
  weft_pool_run(pool, softmax_task, &context, rows, 4096 / (size + 1) + 1);
}
