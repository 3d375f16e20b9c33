// How keys and values of one layer lie in memory: blocks of 16 consecutive positions of a sequence. What
// a head has in a block, with its elements padded to a multiple of 16:
//
//          keys                             values
//   f32    [dim][16]                        [16][dim]         the lanes of a vector are 16 keys,
//   bf16   [dim / 2][16][2]                 [8][dim][2]       or 16 elements
//   int8   [dim / 4][16][4], [16] of f32    [4][dim][4], [16] of f32
//
// So neither the scores nor the weighted sums of values add across lanes: what a product adds at once, 2
// or 4 elements of a key or as many keys, lies side by side, as matrix instructions want their second
// operand. int8 is stored as unsigned bytes, 128 more; the f32 numbers beside it are the scales of the 16
// keys or values.
#ifndef WEFT_KV_CACHE_H
#define WEFT_KV_CACHE_H

#include <stdint.h>

enum {
  KV_BLOCK = 16,
  MAX_HEAD_DIM = 512,  // elements of a head, checked by the caller
};

// How elements are stored.
enum { KV_F32 = 0, KV_BF16 = 2, KV_INT8 = 3 };

static inline int kv_padded_dim(int head_dim) { return (head_dim + 15) / 16 * 16; }

// Elements that lie side by side.
static inline int kv_group(int type) { return type == KV_INT8 ? 4 : type == KV_BF16 ? 2 : 1; }

// Bytes of the keys, or of the values, of one head in a block.
static inline int64_t kv_head_bytes(int type, int head_dim) {
  const int64_t elements = (int64_t)KV_BLOCK * kv_padded_dim(head_dim);
  return elements * 4 / kv_group(type) + (type == KV_INT8 ? KV_BLOCK * 4 : 0);
}

// The scales at the end of what an int8 head has in a block.
static inline int64_t kv_scales_offset(int head_dim) {
  return (int64_t)KV_BLOCK * kv_padded_dim(head_dim);
}

// Where a token's key and value go: the 16 of a head in a block, and its place among them.
typedef struct {
  char* keys;
  char* values;
  int lane;
} kv_place;

// Stores a head's key or value of one token in the cache's type, elements rounded to nearest; int8 with the
// scale that makes the largest 127.
void weft_store_key(int type, kv_place place, const float* key, int head_dim);
void weft_store_value(int type, kv_place place, const float* value, int head_dim);

#endif
