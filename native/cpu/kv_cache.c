// Writes the keys and values of a step into the paged cache.
#include "kv_cache.h"

#include <string.h>

#include "pool.h"

// Below this many tokens waking the pool costs more than it saves.
enum { PARALLEL_ROWS = 32 };

typedef struct {
  float* key_cache;
  float* value_cache;
  const float* keys;
  int64_t key_stride;
  const float* values;
  int64_t value_stride;
  const int32_t* slots;
  int rows;
  int num_kv_heads;
  int head_dim;
} kv_write;

// Work is cut by heads: tokens of one block share cache lines of the transposed keys.
static void write_heads(void* context, int64_t begin, int64_t end) {
  const kv_write* w = context;
  const int dim = w->head_dim;
  for (int head = (int)begin; head < end; head++) {
    for (int row = 0; row < w->rows; row++) {
      const int slot = w->slots[row], lane = slot % KV_BLOCK;
      const int64_t base = kv_offset(slot / KV_BLOCK, head, w->num_kv_heads, dim);
      const float* key = w->keys + row * w->key_stride + head * dim;
      float* key_lane = w->key_cache + base + lane;
      for (int d = 0; d < dim; d++) key_lane[d * KV_BLOCK] = key[d];
      memcpy(w->value_cache + base + lane * dim, w->values + row * w->value_stride + head * dim,
             (size_t)dim * sizeof(float));
    }
  }
}

// Stores `rows` keys and values, [rows, num_kv_heads * head_dim] with their strides, at `slots`
// (block * 16 + offset). Returns -1, or the first row whose slot lies outside the cache: then nothing
// was written.
int32_t weft_write_kv_cache(weft_pool* pool, float* key_cache, float* value_cache, const float* keys,
                            int32_t key_stride, const float* values, int32_t value_stride,
                            const int32_t* slots, int32_t rows, int32_t num_blocks,
                            int32_t num_kv_heads, int32_t head_dim) {
  for (int row = 0; row < rows; row++) {
    if (slots[row] < 0 || slots[row] / KV_BLOCK >= num_blocks) return row;
  }
  kv_write w = {key_cache,    value_cache, keys, key_stride,   values,
                value_stride, slots,       rows, num_kv_heads, head_dim};
  weft_pool_run(pool, write_heads, &w, num_kv_heads, rows < PARALLEL_ROWS ? num_kv_heads : 1);
  return -1;
}
