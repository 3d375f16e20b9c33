// Maximum and sum of exponentials of each row, in blocks that a rank boundary never cuts: a rank merges
// its blocks by a binary tree, and merging the ranks' results continues that tree (NUMERICS.md 6).
#include <math.h>

#include "pool.h"
#include "simd.h"

enum { MAX_BLOCKS = 64 };  // checked by the caller

// s = sum of exp(x - m); m = -inf and s = 0 where every x is -inf.
typedef struct {
  float m;
  float s;
} log_sum;

typedef struct {
  log_sum* stats;
  const float* logits;
  int64_t stride;
  int32_t size;
  int32_t block_size;
} log_sum_exp;

// Lanes past the end, and NaN, count as -inf.
static inline f32x16 load_logits(const float* x, int64_t column, int64_t size) {
  const f32x16 low = f32x16_set1(-INFINITY);
  if (size - column >= 16) return f32x16_max(f32x16_load(x + column), low);
  const int n = (int)(size - column);
  return f32x16_select(mask16_first(n), f32x16_max(f32x16_load_n(x + column, n), low), low);
}

static log_sum sum_block(const float* x, int64_t size) {
  f32x16 largest = f32x16_set1(-INFINITY);
  for (int64_t i = 0; i < size; i += 16) largest = f32x16_max(load_logits(x, i, size), largest);
  const float m = f32x16_hmax(largest);
  if (m == -INFINITY) return (log_sum){m, 0};
  f32x16 sum = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) {
    sum = f32x16_add(sum, f32x16_exp(f32x16_sub(load_logits(x, i, size), f32x16_set1(m))));
  }
  return (log_sum){m, f32x16_sum(sum)};
}

static log_sum merge(log_sum a, log_sum b) {
  const float m = a.m > b.m ? a.m : b.m;
  if (m == -INFINITY) return (log_sum){m, 0};
  const f32x16 sum = f32x16_fma(f32x16_set1(b.s), f32x16_exp(f32x16_set1(b.m - m)),
                                f32x16_mul(f32x16_set1(a.s), f32x16_exp(f32x16_set1(a.m - m))));
  float lanes[16];
  f32x16_store(lanes, sum);
  return (log_sum){m, lanes[0]};
}

// ((0+1)+(2+3))+((4+5)+(6+7)); the odd one of a level goes up as it is.
static log_sum merge_tree(log_sum* parts, int count) {
  for (; count > 1; count = (count + 1) / 2) {
    for (int i = 0; i < count / 2; i++) parts[i] = merge(parts[2 * i], parts[2 * i + 1]);
    if (count % 2) parts[count / 2] = parts[count - 1];
  }
  return parts[0];
}

static void sum_rows(void* context, int64_t begin, int64_t end) {
  const log_sum_exp* a = context;
  for (int64_t row = begin; row < end; row++) {
    const float* x = a->logits + row * a->stride;
    log_sum blocks[MAX_BLOCKS];
    int count = 0;
    for (int64_t first = 0; first < a->size; first += a->block_size) {
      const int64_t rest = a->size - first;
      blocks[count++] = sum_block(x + first, rest < a->block_size ? rest : a->block_size);
    }
    a->stats[row] = merge_tree(blocks, count);
  }
}

// stats[t] = {maximum, sum of exp(x - maximum)} of the `size` logits of row t.
void weft_log_sum_exp(weft_pool* pool, float* stats, const float* logits, int32_t stride,
                      int32_t rows, int32_t size, int32_t block_size) {
  log_sum_exp a = {(log_sum*)stats, logits, stride, size, block_size};
  weft_pool_run(pool, sum_rows, &a, rows, 1);
}

// Merges `parts` results, gathered [parts][rows], into stats [rows].
void weft_merge_log_sum_exp(float* stats, const float* gathered, int32_t rows, int32_t parts) {
  const log_sum* all = (const log_sum*)gathered;
  for (int row = 0; row < rows; row++) {
    log_sum row_parts[MAX_BLOCKS];
    for (int part = 0; part < parts; part++) row_parts[part] = all[(int64_t)part * rows + row];
    ((log_sum*)stats)[row] = merge_tree(row_parts, parts);
  }
}
