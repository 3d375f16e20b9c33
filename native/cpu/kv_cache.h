// How keys and values of one layer lie in memory: blocks of 16 consecutive positions of a sequence.
//
//   keys   [numBlocks][numKvHeads][headDim][16]   the lanes of a vector are 16 keys
//   values [numBlocks][numKvHeads][16][headDim]   the lanes of a vector are 16 elements of a head
//
// So neither the scores nor the weighted sum of values add across lanes.
#ifndef WEFT_KV_CACHE_H
#define WEFT_KV_CACHE_H

#include <stdint.h>

enum { KV_BLOCK = 16 };

// First element of `head` in `block`, for either array.
static inline int64_t kv_offset(int64_t block, int head, int num_kv_heads, int head_dim) {
  return (block * num_kv_heads + head) * KV_BLOCK * head_dim;
}

#endif
