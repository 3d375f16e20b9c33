// Attention over keys and values in int8, each with a scale of its own. Queries and weights become
// integers of 16 bits, in two planes of bytes: 256 * high + low. So all sums of a partition are
// integers, exact, and what shows in the result is how keys and values were rounded.
#include "amx.h"
#if defined(WEFT_AMX)
#define GROUP_ROWS AMX_ROWS
#elif defined(__AVX512F__)
// Two planes take two registers a sum.
#define GROUP_ROWS 4
#define SCORE_BLOCKS(rows) 2
#define VALUE_VECTORS(rows) 2
#endif
#include "attention_blocks.h"
#include "integer_dot.h"

enum { LARGEST = 127 * 256 };

// The integers of what is multiplied with the cache.
typedef struct {
  int8_t* high;
  int8_t* low;
  f32x16 high_sums;
  f32x16 low_sums;
} planes;

typedef struct {
  int8_t high[MAX_HEAD_DIM];
  int8_t low[MAX_HEAD_DIM];
  int32_t high_sum;
  int32_t low_sum;
  float scale;
} query_operand;

typedef struct {
  float of[PARTITION];
  int8_t high[PARTITION];
  int8_t low[PARTITION];
  int32_t high_sum;
  int32_t low_sum;
  float scale;
} weight_row;

// The scale at which numbers as large as `largest` become integers, and its inverse: zero where
// that would overflow.
typedef struct {
  float scale;
  f32x16 inverse;
} scaling;

ALWAYS_INLINE scaling scaling_of(f32x16 largest) {
  const float scale = f32x16_hmax(largest) / LARGEST;
  return (scaling){scale, f32x16_set1(scale < 0x1p-120f ? 0 : 1 / scale)};
}

// Sixteen numbers as integers. A quarter of an integer keeps ties from rounding low to 128.
ALWAYS_INLINE void store_planes(planes* p, int i, f32x16 a, scaling s) {
  const f32x16 q = f32x16_round(f32x16_mul(a, s.inverse));
  const f32x16 high = f32x16_round(f32x16_mul(f32x16_add(q, f32x16_set1(0.25f)),
                                              f32x16_set1(1.0f / 256)));
  const f32x16 low = f32x16_fnma(high, f32x16_set1(256), q);
  f32x16_store_i8(p->high + i, high);
  f32x16_store_i8(p->low + i, low);
  p->high_sums = f32x16_add(p->high_sums, high);
  p->low_sums = f32x16_add(p->low_sums, low);
}

static void prepare_query(query_operand* operand, const float* query, int head_dim) {
  f32x16 largest = f32x16_zero(), poison = f32x16_zero();
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 x = f32x16_load_n(query + d, min_int(16, head_dim - d));
    largest = f32x16_max(largest, f32x16_abs(x));
    poison = f32x16_fma(x, f32x16_zero(), poison);
  }
  const scaling s = scaling_of(largest);
  planes p = {operand->high, operand->low, f32x16_zero(), f32x16_zero()};
  const float not_finite = f32x16_sum(poison);
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 x = f32x16_load_n(query + d, not_finite == 0 ? min_int(16, head_dim - d) : 0);
    store_planes(&p, d, x, s);
  }
  operand->high_sum = (int32_t)f32x16_sum(p.high_sums);
  operand->low_sum = (int32_t)f32x16_sum(p.low_sums);
  // What isn't a number has no integer: it comes back with the scale.
  operand->scale = s.scale + not_finite;
}

ALWAYS_INLINE const float* scales_of(const char* block, int head_dim) {
  return (const float*)(block + kv_scales_offset(head_dim));
}

// Weights take the scales of the values; that of a key that isn't seen may be anything.
ALWAYS_INLINE void keep_weights(weight_row* weights, const partition_blocks* p, int block,
                                f32x16 e) {
  const f32x16 scaled = f32x16_mul(e, f32x16_load(scales_of(p->values[block], p->head_dim)));
  const mask16 unseen = f32x16_eq(e, f32x16_zero());
  f32x16_store(weights->of + block * KV_BLOCK, f32x16_select(unseen, f32x16_zero(), scaled));
}

static inline f32x16 weight_of(f32x16 score) { return f32x16_exp2(score); }

static inline void clear_weights(weight_row* weights, int begin, int end) {
  memset(weights->high + begin, 0, (size_t)(end - begin));
  memset(weights->low + begin, 0, (size_t)(end - begin));
}

// Whatever integers lie there, zero times them is zero.
typedef struct {
  char none;
} value_copies;

static inline int hide_unseen_values(partition_blocks* p, value_copies* copies, seen_keys seen) {
  (void)p, (void)copies, (void)seen;
  return 1;
}

static void finish_weights(weight_row* weights, int begin, int end) {
  const int first = begin / KV_BLOCK * KV_BLOCK;
  f32x16 largest = f32x16_zero(), poison = f32x16_zero();
  for (int key = first; key < end; key += KV_BLOCK) {
    const f32x16 weight = f32x16_load(weights->of + key);
    largest = f32x16_max(largest, weight);
    poison = f32x16_fma(weight, f32x16_zero(), poison);
  }
  const scaling s = scaling_of(largest);
  const float not_finite = f32x16_sum(poison);
  planes p = {weights->high, weights->low, f32x16_zero(), f32x16_zero()};
  for (int key = first; key < end; key += KV_BLOCK) {
    const f32x16 weight = f32x16_load_n(weights->of + key, not_finite == 0 ? 16 : 0);
    store_planes(&p, key, weight, s);
  }
  weights->high_sum = (int32_t)f32x16_sum(p.high_sums);
  weights->low_sum = (int32_t)f32x16_sum(p.low_sums);
  weights->scale = s.scale + not_finite;
}

// What the sums lack: the cache's bytes are 128 more than the integers that they stand for.
ALWAYS_INLINE i32x16 sums_start(int32_t sum) { return i32x16_start(i32x16_set1(128), sum, 8); }

ALWAYS_INLINE i32x16 join_planes(i32x16 high, i32x16 low) {
  return i32x16_add(i32x16_mul(high, i32x16_set1(256)), low);
}

// Together, the planes of a score may pass 32 bits.
ALWAYS_INLINE f32x16 scaled_score(i32x16 high, i32x16 low, f32x16 scale) {
  const f32x16 sum = f32x16_fma(i32x16_to_f32(high), f32x16_set1(256), i32x16_to_f32(low));
  return f32x16_mul(sum, scale);
}

// 256 weights below 2^15 and values below 2^7 fit 32 bits.
static void finish_values(const weight_row* weights, float* o, int head_dim) {
  const i32x16 start = join_planes(sums_start(weights->high_sum), sums_start(weights->low_sum));
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 sums = i32x16_to_f32(i32x16_add(i32x16_load((const int32_t*)(o + d)), start));
    f32x16_store(o + d, f32x16_mul(sums, f32x16_set1(weights->scale)));
  }
}

#ifdef WEFT_AMX
#include "attention_int8_amx.h"
#else

// Dot products of `count` queries with the keys of `blocks` blocks, which are constants where
// inlined, as is `fetch`.
ALWAYS_INLINE void score_blocks(const query_operand* queries, const int count,
                                const partition_blocks* p, int block, const int blocks,
                                const int fetch, float (*scores)[PARTITION]) {
  i32x16 high[GROUP_ROWS][MOST_SCORE_BLOCKS], low[GROUP_ROWS][MOST_SCORE_BLOCKS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) {
      high[i][b] = sums_start(queries[i].high_sum);
      low[i][b] = sums_start(queries[i].low_sum);
    }
  }
  const int ahead = min_int(block + BLOCKS_AHEAD, p->last - blocks);
  for (int d = 0; d < p->head_dim; d += 4) {
    weight_quad keys[MOST_SCORE_BLOCKS];
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) {
      keys[b] = weight_quad_8((const uint8_t*)p->keys[block + b] + d * KV_BLOCK);
      if (fetch) fetch_line(p, block + b, ahead + b, d * KV_BLOCK);
    }
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      const input_quad upper = input_quad_load(queries[i].high + d);
      const input_quad lower = input_quad_load(queries[i].low + d);
      WEFT_UNROLL
      for (int b = 0; b < blocks; b++) {
        high[i][b] = i32x16_dot(high[i][b], keys[b], upper, 8);
        low[i][b] = i32x16_dot(low[i][b], keys[b], lower, 8);
      }
    }
  }
  WEFT_UNROLL
  for (int b = 0; b < blocks; b++) {
    const f32x16 scales = f32x16_load(scales_of(p->keys[block + b], p->head_dim));
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      const f32x16 scale = f32x16_mul(scales, f32x16_set1(queries[i].scale));
      const f32x16 score = scaled_score(high[i][b], low[i][b], scale);
      f32x16_store(scores[i] + (block + b) * KV_BLOCK, score);
    }
  }
}

// Sums of values, weighted: elements [first, first + 16 * vectors) of each row's o, which holds
// int32 until finish_values().
ALWAYS_INLINE void add_values(const weight_row* weights, float* o, const int count,
                              const partition_blocks* p, int first, const int vectors) {
  i32x16 high[GROUP_ROWS][MOST_VALUE_VECTORS], low[GROUP_ROWS][MOST_VALUE_VECTORS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) high[i][v] = low[i][v] = i32x16_set1(0);
  }
  const int dim = kv_padded_dim(p->head_dim);
  for (int key = p->first * KV_BLOCK; key < p->last * KV_BLOCK; key += 4) {
    const uint8_t* values =
        (const uint8_t*)p->values[key / KV_BLOCK] + key % KV_BLOCK * dim + first * 4;
    weight_quad loaded[MOST_VALUE_VECTORS];
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) loaded[v] = weight_quad_8(values + v * 64);
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      const input_quad upper = input_quad_load(weights[i].high + key);
      const input_quad lower = input_quad_load(weights[i].low + key);
      WEFT_UNROLL
      for (int v = 0; v < vectors; v++) {
        high[i][v] = i32x16_dot(high[i][v], loaded[v], upper, 8);
        low[i][v] = i32x16_dot(low[i][v], loaded[v], lower, 8);
      }
    }
  }
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    int32_t* out = (int32_t*)(o + i * partial_size(p->head_dim) + first);
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) {
      i32x16_store(out + v * 16, join_planes(high[i][v], low[i][v]));
    }
  }
}

#include "attention_vector.h"
#endif

#include "attention_group.h"

void weft_attend_partition_int8(const kv_view* kv, const query_row* rows, int count, int partition,
                                float scale, float* partials) {
  attend_rows(kv, rows, count, partition, scale, partials);
}
