// Attention of a tile of queries over one partition of keys: what attention.c schedules.
#ifndef WEFT_ATTENTION_PARTITION_H
#define WEFT_ATTENTION_PARTITION_H

#include <stdint.h>

#include "kv_cache.h"

enum {
  PARTITION = 256,     // keys that are summed before their sums are merged
  TILE_ROWS = 16,      // queries of one work item
};

// The blocks that a sequence's head reads.
typedef struct {
  const char* keys;
  const char* values;
  const int32_t* block_table;
  int32_t type;
  int32_t kv_head;
  int32_t num_kv_heads;
  int32_t head_dim;
} kv_view;

// One query of a tile.
typedef struct {
  const float* query;
  float* out;
  int32_t begin;  // the keys that it sees: [begin, end)
  int32_t end;
} query_row;

// A partial result is o padded to whole vectors, then m and l in a vector of their own; l = 0 says that
// no key was seen. Weights are powers of two: o and l are sums of 2^(score - m), with scores in bits.
enum { MAX_PARTIAL_SIZE = MAX_HEAD_DIM + 16 };
static inline int64_t partial_size(int head_dim) { return kv_padded_dim(head_dim) + 16; }

// Partial results of `count` rows over the keys that each sees in the partition, to
// `partials` [count][partial_size]. `scale` turns products into bits.
void weft_attend_partition(const kv_view* kv, const query_row* rows, int count, int partition,
                           float scale, float* partials);

// The same for one type of keys and values each.
void weft_attend_partition_f32(const kv_view* kv, const query_row* rows, int count, int partition,
                               float scale, float* partials);
void weft_attend_partition_bf16(const kv_view* kv, const query_row* rows, int count, int partition,
                                float scale, float* partials);
void weft_attend_partition_int8(const kv_view* kv, const query_row* rows, int count, int partition,
                                float scale, float* partials);

// Appends a later partition's result to `total`.
void weft_merge_partial(float* total, const float* partial, int head_dim);

// out = o / l
void weft_store_attention(float* out, const float* total, int head_dim);

#endif
