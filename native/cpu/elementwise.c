// Additions and gathers.
#include "pool.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const float* a;
  int64_t a_stride;
  const float* b;
  const int32_t* index;
  int64_t size;
} elementwise_context;

static void add_rows(float* out, const float* a, const float* b, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i += 16) {
    const int n = end - i < 16 ? (int)(end - i) : 16;
    f32x16_store_n(out + i, f32x16_add(f32x16_load_n(a + i, n), f32x16_load_n(b + i, n)), n);
  }
}

static void add_task(void* argument, int64_t begin, int64_t end) {
  const elementwise_context* c = argument;
  add_rows(c->out, c->a, c->b, begin, end);
}

static void add_bias_task(void* argument, int64_t begin, int64_t end) {
  const elementwise_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    float* out = c->out + row * c->out_stride;
    add_rows(out, out, c->b, 0, c->size);
  }
}

static void gather_rows_task(void* argument, int64_t begin, int64_t end) {
  const elementwise_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    memcpy(c->out + row * c->out_stride, c->a + c->index[row] * c->a_stride,
           (size_t)c->size * sizeof(float));
  }
}

// out = a + b over `count` elements; out may be a or b.
void weft_add(weft_pool* pool, float* out, const float* a, const float* b, int32_t count) {
  elementwise_context context = {.out = out, .a = a, .b = b};
  weft_pool_run(pool, add_task, &context, count, 16384);
}

// x[t, i] += bias[i]
void weft_add_bias(weft_pool* pool, float* x, int32_t x_stride, const float* bias, int32_t rows,
                   int32_t size) {
  elementwise_context context = {.out = x, .out_stride = x_stride, .b = bias, .size = size};
  weft_pool_run(pool, add_bias_task, &context, rows, 16384 / (size + 1) + 1);
}

// out[i] = x[index[i]]. Returns the first i whose index is not in [0, x_rows) (nothing was changed
// then), or -1.
int32_t weft_gather_rows(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                         int32_t x_stride, int32_t x_rows, const int32_t* index, int32_t rows,
                         int32_t size) {
  for (int32_t i = 0; i < rows; i++) {
    if (index[i] < 0 || index[i] >= x_rows) return i;
  }
  elementwise_context context = {.out = out, .out_stride = out_stride, .a = x,
                                 .a_stride = x_stride, .index = index, .size = size};
  weft_pool_run(pool, gather_rows_task, &context, rows, 16384 / (size + 1) + 1);
  return -1;
}
