// What happens to queries, keys and values before they meet, in one pass: norms over heads, the rotary
// embedding in its rotate-half form (Su et al., arXiv 2104.09864; the pairing of halves is that of Hugging
// Face's Llama), and the rounding of keys and values into the cache.
#include "kv_cache.h"
#include "norm.h"
#include "pool.h"
#include "simd.h"

// Elements below which waking the pool costs more than it saves.
enum { PIECE_ELEMENTS = 16384 };

typedef struct {
  char* key_cache;
  char* value_cache;
  int type;
  float* queries;
  int64_t query_stride;
  const float* keys;
  int64_t key_stride;
  const float* values;
  int64_t value_stride;
  const int32_t* positions;
  const int32_t* slots;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  const float* query_norm;  // may be NULL, as may the next
  const float* key_norm;
  float epsilon;
  const float* table;  // may be NULL
  int64_t table_stride;
  int rotary_dim;
} rotation;

// Rotates the first elements of a head by a row of the table: cosines, then sines.
static void rotate_head(float* x, const float* cosines, int half) {
  const float* sines = cosines + half;
  float* high = x + half;
  for (int i = 0; i < half; i += 16) {
    const int n = half - i < 16 ? half - i : 16;
    const f32x16 cosine = f32x16_load_n(cosines + i, n), sine = f32x16_load_n(sines + i, n);
    const f32x16 a = f32x16_load_n(x + i, n), b = f32x16_load_n(high + i, n);
    f32x16_store_n(x + i, f32x16_fnma(b, sine, f32x16_mul(a, cosine)), n);
    f32x16_store_n(high + i, f32x16_fma(a, sine, f32x16_mul(b, cosine)), n);
  }
}

// out may be x.
static void transform_head(const rotation* r, float* out, const float* x, const float* norm,
                           const float* cosines) {
  if (norm != NULL) {
    weft_rms_norm_row(out, x, norm, r->head_dim, r->epsilon);
  } else if (out != x) {
    memcpy(out, x, (size_t)r->head_dim * sizeof(float));
  }
  if (cosines != NULL) rotate_head(out, cosines, r->rotary_dim / 2);
}

static void rotate_rows(void* context, int64_t begin, int64_t end) {
  const rotation* r = context;
  const int dim = r->head_dim;
  const int64_t bytes = kv_head_bytes(r->type, dim);
  for (int64_t row = begin; row < end; row++) {
    const float* cosines = r->table ? r->table + r->positions[row] * r->table_stride : NULL;
    if (cosines != NULL || r->query_norm != NULL) {
      for (int head = 0; head < r->num_heads; head++) {
        float* query = r->queries + row * r->query_stride + head * dim;
        transform_head(r, query, query, r->query_norm, cosines);
      }
    }
    const int64_t first = (int64_t)(r->slots[row] / KV_BLOCK) * r->num_kv_heads;
    for (int head = 0; head < r->num_kv_heads; head++) {
      const kv_place place = {r->key_cache + (first + head) * bytes,
                              r->value_cache + (first + head) * bytes, r->slots[row] % KV_BLOCK};
      float key[MAX_HEAD_DIM];
      transform_head(r, key, r->keys + row * r->key_stride + head * dim, r->key_norm, cosines);
      weft_store_key(r->type, place, key, dim);
      weft_store_value(r->type, place, r->values + row * r->value_stride + head * dim, dim);
    }
  }
}

// Norms and rotates queries `[rows, num_heads * head_dim]` in place, and stores keys, treated alike, and
// values `[rows, num_kv_heads * head_dim]` at `slots` (block * 16 + offset). Without norms their weights are
// NULL, and so is the table without rotation: cosines in the first half of a row, sines in the second. The
// first `rotary_dim` elements of a head are rotated. Returns -1; or 2 * row of the first row whose slot lies
// outside the cache, 2 * row + 1 of the first whose position lies outside the table: then nothing was
// written.
int32_t weft_rotate_and_cache(weft_pool* pool, char* key_cache, char* value_cache, int32_t type,
                              int32_t num_blocks, float* queries, int32_t query_stride,
                              const float* keys, int32_t key_stride, const float* values,
                              int32_t value_stride, const int32_t* positions, const int32_t* slots,
                              int32_t rows, int32_t num_heads, int32_t num_kv_heads,
                              int32_t head_dim, const float* query_norm, const float* key_norm,
                              float epsilon, const float* table, int32_t table_stride,
                              int32_t table_rows, int32_t rotary_dim) {
  for (int row = 0; row < rows; row++) {
    if (slots[row] < 0 || slots[row] / KV_BLOCK >= num_blocks) return 2 * row;
    if (table != NULL && (positions[row] < 0 || positions[row] >= table_rows)) return 2 * row + 1;
  }
  rotation r = {key_cache,  value_cache, type,     queries,      query_stride, keys,
                key_stride, values,      value_stride, positions, slots,       num_heads,
                num_kv_heads, head_dim,  query_norm, key_norm,   epsilon,      table,
                table_stride, rotary_dim};
  const int64_t elements = (int64_t)(num_heads + 2 * num_kv_heads) * head_dim;
  weft_pool_run(pool, rotate_rows, &r, rows, PIECE_ELEMENTS / elements + 1);
  return -1;
}
