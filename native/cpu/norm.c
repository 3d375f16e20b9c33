// RMSNorm and LayerNorm, with the residual addition before them. One thread reduces a
// row: sixteen interleaved partial sums, then f32x16_sum.
#include "norm.h"

#include <math.h>

#include "pool.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const float* x;
  int64_t x_stride;
  float* residual;  // may be NULL
  int64_t residual_stride;
  const float* weight;
  const float* bias;  // LayerNorm only
  int64_t size;
  float epsilon;
} norm_context;

static inline int tail(int64_t i, int64_t size) { return size - i < 16 ? (int)(size - i) : 16; }

// residual += x
static void add_into(float* residual, const float* x, int64_t size) {
  for (int64_t i = 0; i < size; i += 16) {
    const int n = tail(i, size);
    const f32x16 sum = f32x16_add(f32x16_load_n(residual + i, n), f32x16_load_n(x + i, n));
    f32x16_store_n(residual + i, sum, n);
  }
}

void weft_rms_norm_row(float* out, const float* x, const float* weight, int64_t size,
                       float epsilon) {
  f32x16 squares = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) {
    const f32x16 value = f32x16_load_n(x + i, tail(i, size));
    squares = f32x16_fma(value, value, squares);
  }
  const f32x16 scale =
      f32x16_set1(1.0f / sqrtf(f32x16_sum(squares) / (float)size + epsilon));
  for (int64_t i = 0; i < size; i += 16) {
    const int n = tail(i, size);
    const f32x16 value = f32x16_mul(f32x16_load_n(x + i, n), scale);
    f32x16_store_n(out + i, f32x16_mul(value, f32x16_load_n(weight + i, n)), n);
  }
}

static void layer_norm_row(float* out, const float* x, const norm_context* c) {
  const int64_t size = c->size;
  f32x16 sum = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) sum = f32x16_add(sum, f32x16_load_n(x + i, tail(i, size)));
  const f32x16 mean = f32x16_set1(f32x16_sum(sum) / (float)size);

  f32x16 squares = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) {
    const int n = tail(i, size);
    const f32x16 centred = f32x16_sub(f32x16_load_n(x + i, n), mean);
    const f32x16 counted = f32x16_select(mask16_first(n), centred, f32x16_zero());
    squares = f32x16_fma(counted, counted, squares);
  }
  const f32x16 scale =
      f32x16_set1(1.0f / sqrtf(f32x16_sum(squares) / (float)size + c->epsilon));
  for (int64_t i = 0; i < size; i += 16) {
    const int n = tail(i, size);
    const f32x16 value = f32x16_mul(f32x16_sub(f32x16_load_n(x + i, n), mean), scale);
    const f32x16 bias = f32x16_load_n(c->bias + i, n);
    f32x16_store_n(out + i, f32x16_fma(value, f32x16_load_n(c->weight + i, n), bias), n);
  }
}

// What the norm reads: x, or the residual after x was added to it.
static const float* norm_input(const norm_context* c, int64_t row) {
  const float* x = c->x + row * c->x_stride;
  if (c->residual == NULL) return x;
  float* residual = c->residual + row * c->residual_stride;
  add_into(residual, x, c->size);
  return residual;
}

static void rms_norm_task(void* argument, int64_t begin, int64_t end) {
  const norm_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    weft_rms_norm_row(c->out + row * c->out_stride, norm_input(c, row), c->weight, c->size, c->epsilon);
  }
}

static void layer_norm_task(void* argument, int64_t begin, int64_t end) {
  const norm_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    layer_norm_row(c->out + row * c->out_stride, norm_input(c, row), c);
  }
}

// Rows a piece: enough elements that handing it out does not show.
static int64_t norm_grain(int64_t row_size) { return 8192 / (row_size + 1) + 1; }

// out = x / rms(x) * weight; where residual is not NULL, residual += x first, and its norm is
// taken.
void weft_rms_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                   int32_t x_stride, float* residual, int32_t residual_stride, const float* weight,
                   int32_t rows, int32_t size, float epsilon) {
  norm_context context = {.out = out, .out_stride = out_stride, .x = x, .x_stride = x_stride,
                          .residual = residual, .residual_stride = residual_stride,
                          .weight = weight, .size = size, .epsilon = epsilon};
  weft_pool_run(pool, rms_norm_task, &context, rows, norm_grain(size));
}

// out = (x - mean) / sqrt(variance + epsilon) * weight + bias; residual as in weft_rms_norm.
void weft_layer_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                     int32_t x_stride, float* residual, int32_t residual_stride,
                     const float* weight, const float* bias, int32_t rows, int32_t size,
                     float epsilon) {
  norm_context context = {.out = out, .out_stride = out_stride, .x = x, .x_stride = x_stride,
                          .residual = residual, .residual_stride = residual_stride,
                          .weight = weight, .bias = bias, .size = size, .epsilon = epsilon};
  weft_pool_run(pool, layer_norm_task, &context, rows, norm_grain(size));
}
