// Attention over keys and values in bf16. Queries and weights are rounded to bf16 too, always; products
// are added in f32, pair by pair.
#include "attention_blocks.h"
#include "panel_simd.h"

enum { GROUP_KEYS = 2 };

#if defined(__AVX512BF16__)
ALWAYS_INLINE void store_operands(panel_token* p, f32x16 a) {
  _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(a));
}
// Pairs without their first, or their second element.
ALWAYS_INLINE panel_pairs drop_first(panel_pairs a) {
  return _mm512_and_si512(a, _mm512_set1_epi32((int)0xffff0000u));
}
ALWAYS_INLINE panel_pairs drop_second(panel_pairs a) {
  return _mm512_and_si512(a, _mm512_set1_epi32(0xffff));
}
#else
ALWAYS_INLINE void store_operands(panel_token* p, f32x16 a) { panel_store_token(p, a, 16); }
ALWAYS_INLINE panel_pairs drop_first(panel_pairs a) {
  return (panel_pairs){f32x16_zero(), a.second};
}
ALWAYS_INLINE panel_pairs drop_second(panel_pairs a) {
  return (panel_pairs){a.first, f32x16_zero()};
}
#endif

typedef struct {
  panel_token elements[MAX_HEAD_DIM];  // zero past the head's end, up to a whole vector
} query_operand;

typedef struct {
  panel_token of[PARTITION];
} weight_row;

static inline void prepare_query(query_operand* q, const float* query, int head_dim) {
  for (int d = 0; d < head_dim; d += 16) {
    store_operands(q->elements + d, f32x16_load_n(query + d, min_int(16, head_dim - d)));
  }
}

static inline void keep_weights(weight_row* weights, const partition_blocks* p, int block, f32x16 e) {
  (void)p;
  store_operands(weights->of + block * KV_BLOCK, e);
}

static inline void finish_weights(weight_row* weights, int begin, int end) {
  (void)weights, (void)begin, (void)end;
}

// Dot products of `count` queries with the keys of `blocks` blocks; both are constants where inlined.
ALWAYS_INLINE void score_blocks(const query_operand* queries, const int count,
                                const partition_blocks* p, int block, const int blocks, int fetch,
                                float (*scores)[PARTITION]) {
  f32x16 sums[GROUP_ROWS][MOST_SCORE_BLOCKS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) sums[i][b] = f32x16_zero();
  }
  const int ahead = min_int(block + BLOCKS_AHEAD, p->last - blocks);
  for (int d = 0; d < p->head_dim; d += 2) {
    panel_pairs keys[MOST_SCORE_BLOCKS];
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) {
      keys[b] = panel_load((const uint16_t*)p->keys[block + b] + d * KV_BLOCK);
      if (fetch) fetch_line(p, block + b, ahead + b, d * 32);
    }
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      const panel_token* elements = queries[i].elements + d;
      WEFT_UNROLL
      for (int b = 0; b < blocks; b++) sums[i][b] = panel_multiply(sums[i][b], keys[b], elements);
    }
  }
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) f32x16_store(scores[i] + (block + b) * KV_BLOCK, sums[i][b]);
  }
}

// Adds the values of a pair of keys to the sums of `count` rows. `lacks` tells which of the two a row
// does not see, and so must not even be multiplied by its weight of zero: 0 neither, 1 the first, 2 the
// second.
ALWAYS_INLINE void add_pair(const weight_row* weights, const int count, const partition_blocks* p,
                            int key, int first, const int vectors, const int lacks,
                            f32x16 (*sums)[MOST_VALUE_VECTORS]) {
  const int dim = kv_padded_dim(p->head_dim);
  const uint16_t* values =
      (const uint16_t*)p->values[key / KV_BLOCK] + key % KV_BLOCK * dim + first * 2;
  panel_pairs loaded[MOST_VALUE_VECTORS];
  WEFT_UNROLL
  for (int v = 0; v < vectors; v++) {
    loaded[v] = panel_load(values + v * 32);
    if (lacks == 1) loaded[v] = drop_first(loaded[v]);
    if (lacks == 2) loaded[v] = drop_second(loaded[v]);
  }
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    const panel_token* weight = weights[i].of + key;
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) sums[i][v] = panel_multiply(sums[i][v], loaded[v], weight);
  }
}

// Adds the values of keys [begin, end), weighted, to elements [first, first + 16 * vectors) of each o.
ALWAYS_INLINE void add_values(const weight_row* weights, float* const* o, const int count,
                              const partition_blocks* p, int begin, int end, int first,
                              const int vectors) {
  f32x16 sums[GROUP_ROWS][MOST_VALUE_VECTORS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_load(o[i] + first + v * 16);
  }
  int key = begin;
  if (key % 2 != 0) add_pair(weights, count, p, key++ - 1, first, vectors, 1, sums);
  for (; key + 2 <= end; key += 2) add_pair(weights, count, p, key, first, vectors, 0, sums);
  if (key < end) add_pair(weights, count, p, key, first, vectors, 2, sums);
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) f32x16_store(o[i] + first + v * 16, sums[i][v]);
  }
}

static inline void finish_values(const weight_row* weights, float* o, int head_dim) {
  (void)weights, (void)o, (void)head_dim;
}

#include "attention_group.h"

void weft_attend_partition_bf16(const kv_view* kv, const query_row* rows, int count, int partition,
                                float scale, float* partials) {
  attend_rows(kv, rows, count, partition, scale, partials);
}
