// Rotary position embedding in its rotate-half form (Su et al., arXiv 2104.09864; the pairing of
// halves is that of Hugging Face's Llama).
#include "pool.h"
#include "simd.h"

typedef struct {
  float* x;
  int64_t x_stride;
  const int32_t* positions;
  const float* table;
  int64_t table_stride;
  int64_t heads;
  int64_t head_size;
  int64_t half;
} rope_context;

static void rope_task(void* argument, int64_t begin, int64_t end) {
  const rope_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    const float* cosines = c->table + c->positions[row] * c->table_stride;
    const float* sines = cosines + c->half;
    for (int64_t head = 0; head < c->heads; head++) {
      float* low = c->x + row * c->x_stride + head * c->head_size;
      float* high = low + c->half;
      for (int64_t i = 0; i < c->half; i += 16) {
        const int n = c->half - i < 16 ? (int)(c->half - i) : 16;
        const f32x16 cosine = f32x16_load_n(cosines + i, n), sine = f32x16_load_n(sines + i, n);
        const f32x16 a = f32x16_load_n(low + i, n), b = f32x16_load_n(high + i, n);
        f32x16_store_n(low + i, f32x16_fnma(b, sine, f32x16_mul(a, cosine)), n);
        f32x16_store_n(high + i, f32x16_fma(a, sine, f32x16_mul(b, cosine)), n);
      }
    }
  }
}

// Rotates the first `rotary_size` elements of each head of x by the row of `table` at its position:
// cosines in the first half of a row, sines in the second. Returns the first row whose position is
// outside the table's `table_rows` (nothing was changed then), or -1.
int32_t weft_rope(weft_pool* pool, float* x, int32_t x_stride, const int32_t* positions,
                  const float* table, int32_t table_stride, int32_t table_rows, int32_t rows,
                  int32_t heads, int32_t head_size, int32_t rotary_size) {
  for (int32_t row = 0; row < rows; row++) {
    if (positions[row] < 0 || positions[row] >= table_rows) return row;
  }
  rope_context context = {x, x_stride, positions, table, table_stride, heads, head_size,
                          rotary_size / 2};
  weft_pool_run(pool, rope_task, &context, rows, 8192 / ((int64_t)heads * rotary_size + 1) + 1);
  return -1;
}
