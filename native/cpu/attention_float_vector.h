// Products of f32 or bf16 in tiles of vectors. Included by files that have defined `lanes`, what a
// vector of 16 keys or of 16 elements of values is when it is loaded from the cache, whose numbers
// are `cached`; load_lanes(), and add_products() with VALUE_GROUP elements of a query or weights.

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
  for (int d = 0; d < p->head_dim; d += VALUE_GROUP) {
    const int offset = d * KV_BLOCK;
    lanes keys[MOST_SCORE_BLOCKS];
    WEFT_UNROLL
    for (int b = 0; b < blocks; b++) {
      keys[b] = load_lanes((const cached*)p->keys[block + b] + offset);
      if (fetch) fetch_line(p, block + b, ahead + b, offset * (int)sizeof(cached));
    }
    WEFT_UNROLL
    for (int i = 0; i < count; i++) {
      WEFT_UNROLL
      for (int b = 0; b < blocks; b++) {
        sums[i][b] = add_products(sums[i][b], keys[b], queries[i].elements + d);
      }
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
  const int row = kv_padded_dim(p->head_dim) * VALUE_GROUP;
  f32x16 sums[GROUP_ROWS][MOST_VALUE_VECTORS];
  WEFT_UNROLL
  for (int i = 0; i < count; i++) {
    WEFT_UNROLL
    for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_zero();
  }
  for (int block = p->first; block < p->last; block++) {
    const cached* values = (const cached*)p->values[block] + first * VALUE_GROUP;
    const int end = (block + 1) * KV_BLOCK;
    for (int key = block * KV_BLOCK; key < end; key += VALUE_GROUP, values += row) {
      lanes loaded[MOST_VALUE_VECTORS];
      WEFT_UNROLL
      for (int v = 0; v < vectors; v++) loaded[v] = load_lanes(values + v * 16 * VALUE_GROUP);
      WEFT_UNROLL
      for (int i = 0; i < count; i++) {
        WEFT_UNROLL
        for (int v = 0; v < vectors; v++) {
          sums[i][v] = add_products(sums[i][v], loaded[v], weights[i].of + key);
        }
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

#include "attention_vector.h"
