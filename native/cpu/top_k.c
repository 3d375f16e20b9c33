// The k largest of each row, descending, ties to the lower column.
#include <math.h>

#include "pool.h"
#include "simd.h"

typedef struct {
  float* values;
  int32_t* ids;
  const float* x;
  int64_t stride;
  int32_t size;
  int32_t k;
  int32_t first_id;
} top_k;

// A heap in the output itself: every parent is worse than its children, so the worst is on top.
typedef struct {
  float* values;
  int32_t* ids;
} heap;

static inline int worse(float value, int32_t id, float other_value, int32_t other_id) {
  return value < other_value || (value == other_value && id > other_id);
}

// Puts an entry where it belongs below the hole at `place`.
static void sift_down(heap h, int place, int count, float value, int32_t id) {
  for (int child; (child = 2 * place + 1) < count; place = child) {
    const int right = child + 1;
    if (right < count && worse(h.values[right], h.ids[right], h.values[child], h.ids[child])) {
      child = right;
    }
    if (!worse(h.values[child], h.ids[child], value, id)) break;
    h.values[place] = h.values[child];
    h.ids[place] = h.ids[child];
  }
  h.values[place] = value;
  h.ids[place] = id;
}

// NaN counts as -inf.
static inline float number(float x) { return x == x ? x : -INFINITY; }

static void select_row(const top_k* a, int64_t row) {
  const float* x = a->x + row * a->stride;
  const heap h = {a->values + row * a->k, a->ids + row * a->k};
  for (int i = 0; i < a->k; i++) {
    h.values[i] = number(x[i]);
    h.ids[i] = a->first_id + i;
  }
  for (int i = a->k / 2; i-- > 0;) sift_down(h, i, a->k, h.values[i], h.ids[i]);

  // Whole vectors are passed over while nothing in them is better than the worst that is kept; an equal
  // one is not, as its column is higher.
  for (int64_t column = a->k; column < a->size; column += 16) {
    const int n = a->size - column < 16 ? (int)(a->size - column) : 16;
    const f32x16 some = f32x16_load_n(x + column, n);
    uint32_t better = mask16_bits(f32x16_gt(some, f32x16_set1(h.values[0])));
    for (better &= (1u << n) - 1; better != 0; better &= better - 1) {
      const int64_t i = column + __builtin_ctz(better);
      if (x[i] > h.values[0]) sift_down(h, 0, a->k, x[i], a->first_id + (int32_t)i);
    }
  }
  for (int last = a->k - 1; last > 0; last--) {
    const float value = h.values[last];
    const int32_t id = h.ids[last];
    h.values[last] = h.values[0];
    h.ids[last] = h.ids[0];
    sift_down(h, 0, last, value, id);
  }
}

static void select_rows(void* context, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) select_row(context, row);
}

// values and ids [rows][k]; k is at most size. NaN counts as -inf.
void weft_top_k(weft_pool* pool, float* values, int32_t* ids, const float* x, int32_t stride,
                int32_t rows, int32_t size, int32_t k, int32_t first_id) {
  top_k a = {values, ids, x, stride, size, k, first_id};
  weft_pool_run(pool, select_rows, &a, rows, 1);
}
