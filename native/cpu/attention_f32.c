// Attention over keys and values in f32: exact products, one key after another.
#include "attention_blocks.h"

enum { VALUE_GROUP = 1 };

static inline uint32_t seen_bits(int key, int begin, int end) {
  return key >= begin && key < end ? ~0u : 0;
}
static inline int is_finite(uint32_t bits) { return (bits & 0x7f800000u) != 0x7f800000u; }

typedef struct {
  const float* elements;
} query_operand;

typedef struct {
  float of[PARTITION];
} weight_row;

static inline void prepare_query(query_operand* q, const float* query, int head_dim) {
  (void)head_dim;
  q->elements = query;
}

static inline f32x16 weight_of(f32x16 score) { return f32x16_exp2(score); }

static inline void keep_weights(weight_row* weights, const partition_blocks* p, int block,
                                f32x16 e) {
  (void)p;
  f32x16_store(weights->of + block * KV_BLOCK, e);
}

static inline void clear_weights(weight_row* weights, int begin, int end) {
  memset(weights->of + begin, 0, (size_t)(end - begin) * sizeof(float));
}

static inline void finish_weights(weight_row* weights, int begin, int end) {
  (void)weights, (void)begin, (void)end;
}

// Dot products of `count` queries with the keys of `blocks` blocks, which are constants where
// inlined, as is `fetch`.
ALWAYS_INLINE void score_blocks(const query_operand* queries, const int count,
                                const partition_blocks* p, int block, const int blocks,
                                const int fetch, float (*scores)[PARTITION]) {
  f32x16 sums[GROUP_ROWS][MOST_SCORE_BLOCKS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) sums[i][b] = f32x16_zero();
  }
  const int ahead = min_int(block + BLOCKS_AHEAD, p->last - blocks);
  for (int d = 0; d < p->head_dim; d++) {
    f32x16 keys[MOST_SCORE_BLOCKS];
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) {
      keys[b] = f32x16_load((const float*)p->keys[block + b] + d * KV_BLOCK);
      if (fetch) fetch_line(p, block + b, ahead + b, d * 64);
    }
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      const f32x16 element = f32x16_set1(queries[i].elements[d]);
      WEFT_UNROLL
      for (int b = 0; b < blocks; b++) sums[i][b] = f32x16_fma(element, keys[b], sums[i][b]);
    }
  }
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) f32x16_store(scores[i] + (block + b) * KV_BLOCK, sums[i][b]);
  }
}

// Sums of values, weighted: elements [first, first + 16 * vectors) of each row's o.
ALWAYS_INLINE void add_values(const weight_row* weights, float* o, const int count,
                              const partition_blocks* p, int first, const int vectors) {
  const int dim = kv_padded_dim(p->head_dim);
  f32x16 sums[GROUP_ROWS][MOST_VALUE_VECTORS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_zero();
  }
  for (int block = p->first; block < p->last; block++) {
    const float* value = (const float*)p->values[block] + first;
    for (int key = block * KV_BLOCK; key < (block + 1) * KV_BLOCK; key++, value += dim) {
      f32x16 loaded[MOST_VALUE_VECTORS];
      WEFT_UNROLL
      for (int v = 0; v < vectors; v++) loaded[v] = f32x16_load(value + v * 16);
      WEFT_UNROLL
      for (int i = 0; i < count; i++) {
        const f32x16 weight = f32x16_set1(weights[i].of[key]);
        WEFT_UNROLL
        for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_fma(weight, loaded[v], sums[i][v]);
      }
    }
  }
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    float* out = o + i * partial_size(p->head_dim) + first;
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) f32x16_store(out + v * 16, sums[i][v]);
  }
}

static inline void finish_values(const weight_row* weights, float* o, int head_dim) {
  (void)weights, (void)o, (void)head_dim;
}

#include "attention_unseen.h"
#include "attention_vector.h"
#include "attention_group.h"

void weft_attend_partition_f32(const kv_view* kv, const query_row* rows, int count, int partition,
                               float scale, float* partials) {
  attend_rows(kv, rows, count, partition, scale, partials);
}
