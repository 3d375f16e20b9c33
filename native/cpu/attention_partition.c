// The arithmetic of attention over one partition of keys.
#include "attention_partition.h"

#include <math.h>

#include "kv_cache.h"
#include "simd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
  GROUP_ROWS = 4,  // queries that share each load of a key or value
  KEYS_AHEAD = 8,  // blocks
};

// Independent sums that are under way together: as many as registers hold.
#if defined(__AVX512F__)
enum { SCORE_BLOCKS = 2, VALUE_VECTORS = 4 };
#else
enum { SCORE_BLOCKS = 1, VALUE_VECTORS = 1 };
#endif

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }

// The blocks of a partition that the queries of a group see: [first, last).
typedef struct {
  const float* keys[PARTITION / KV_BLOCK];
  const float* values[PARTITION / KV_BLOCK];
  int first;
  int last;
  int head_dim;
} partition_blocks;

// Dot products of `count` queries with the keys of `blocks` blocks; both are constants where inlined.
// Blocks lie apart, where hardware does not look ahead: the first group of a tile asks for the keys that
// come KEYS_AHEAD blocks later and for the values that it will add next.
ALWAYS_INLINE void score_blocks(const query_row* rows, const int count, const partition_blocks* p,
                                int block, const int blocks, int fetch,
                                float (*scores)[PARTITION]) {
  f32x16 sums[GROUP_ROWS][SCORE_BLOCKS];
  for (int i = 0; i < count; i++) {
    for (int b = 0; b < blocks; b++) sums[i][b] = f32x16_zero();
  }
  const int ahead = min_int(block + KEYS_AHEAD, p->last - blocks);
  for (int d = 0; d < p->head_dim; d++) {
    f32x16 key[SCORE_BLOCKS];
    for (int b = 0; b < blocks; b++) {
      key[b] = f32x16_load(p->keys[block + b] + d * KV_BLOCK);
      if (fetch) {
        __builtin_prefetch(p->keys[ahead + b] + d * KV_BLOCK, 0, 2);
        __builtin_prefetch(p->values[block + b] + d * KV_BLOCK, 0, 2);
      }
    }
    for (int i = 0; i < count; i++) {
      const f32x16 element = f32x16_set1(rows[i].query[d]);
      for (int b = 0; b < blocks; b++) sums[i][b] = f32x16_fma(element, key[b], sums[i][b]);
    }
  }
  for (int i = 0; i < count; i++) {
    for (int b = 0; b < blocks; b++) f32x16_store(scores[i] + (block + b) * KV_BLOCK, sums[i][b]);
  }
}

ALWAYS_INLINE void score_group(const query_row* rows, const int count, const partition_blocks* p,
                               int fetch, float (*scores)[PARTITION]) {
  int block = p->first;
  for (; block + SCORE_BLOCKS <= p->last; block += SCORE_BLOCKS) {
    score_blocks(rows, count, p, block, SCORE_BLOCKS, fetch, scores);
  }
  for (; block < p->last; block++) score_blocks(rows, count, p, block, 1, fetch, scores);
}

// Turns the scores of keys [begin, end) of the partition into exp(score * scale - m); returns m and l.
static void exponentials(float* scores, int begin, int end, float scale, float* m, float* l) {
  const f32x16 low = f32x16_set1(-INFINITY);
  const int first = begin / KV_BLOCK, last = (end + KV_BLOCK - 1) / KV_BLOCK;
  f32x16 largest = low;
  for (int block = first; block < last; block++) {
    float* p = scores + block * KV_BLOCK;
    const mask16 before = mask16_first(max_int(0, begin - block * KV_BLOCK));
    const mask16 until = mask16_first(min_int(KV_BLOCK, end - block * KV_BLOCK));
    const f32x16 scaled = f32x16_mul(f32x16_load(p), f32x16_set1(scale));
    const f32x16 seen = f32x16_select(before, low, f32x16_select(until, scaled, low));
    f32x16_store(p, seen);
    largest = f32x16_max(largest, seen);
  }
  *m = f32x16_hmax(largest);
  f32x16 sum = f32x16_zero();
  for (int block = first; block < last; block++) {
    float* p = scores + block * KV_BLOCK;
    const f32x16 e = f32x16_exp(f32x16_sub(f32x16_load(p), f32x16_set1(*m)));
    f32x16_store(p, e);
    sum = f32x16_add(sum, e);
  }
  *l = f32x16_sum(sum);
}

// Adds the values of keys [begin, end), weighted, to elements [first, first + 16 * vectors) of each o.
// Only the first `width` of the last vector exist.
ALWAYS_INLINE void add_values(const float (*weights)[PARTITION], float* const* o, const int count,
                              const partition_blocks* p, int begin, int end, int first,
                              const int vectors, int width) {
  f32x16 sums[GROUP_ROWS][VALUE_VECTORS];
  for (int i = 0; i < count; i++) {
    for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_load(o[i] + first + v * 16);
  }
  for (int key = begin; key < end;) {
    const int stop = min_int(end, (key / KV_BLOCK + 1) * KV_BLOCK);
    const float* value = p->values[key / KV_BLOCK] + key % KV_BLOCK * p->head_dim + first;
    for (; key < stop; key++, value += p->head_dim) {
      f32x16 loaded[VALUE_VECTORS];
      for (int v = 0; v < vectors; v++) {
        loaded[v] = width == 16 ? f32x16_load(value + v * 16) : f32x16_load_n(value, width);
      }
      for (int i = 0; i < count; i++) {
        const f32x16 weight = f32x16_set1(weights[i][key]);
        for (int v = 0; v < vectors; v++) sums[i][v] = f32x16_fma(weight, loaded[v], sums[i][v]);
      }
    }
  }
  for (int i = 0; i < count; i++) {
    for (int v = 0; v < vectors; v++) f32x16_store(o[i] + first + v * 16, sums[i][v]);
  }
}

ALWAYS_INLINE void add_value_range(const float (*weights)[PARTITION], float* const* o,
                                   const int count, const partition_blocks* p, int begin, int end) {
  if (begin >= end) return;
  int first = 0;
  for (; first + 16 * VALUE_VECTORS <= p->head_dim; first += 16 * VALUE_VECTORS) {
    add_values(weights, o, count, p, begin, end, first, VALUE_VECTORS, 16);
  }
  for (; first + 16 <= p->head_dim; first += 16) {
    add_values(weights, o, count, p, begin, end, first, 1, 16);
  }
  if (first < p->head_dim) {
    add_values(weights, o, count, p, begin, end, first, 1, p->head_dim - first);
  }
}

static void add_row_values(const float (*weights)[PARTITION], float* const* o,
                           const partition_blocks* p, int begin, int end) {
  add_value_range(weights, o, 1, p, begin, end);
}

static partition_blocks find_blocks(const kv_view* kv, int origin, int lowest, int highest) {
  partition_blocks p = {
      .first = lowest / KV_BLOCK,
      .last = (highest + KV_BLOCK - 1) / KV_BLOCK,
      .head_dim = kv->head_dim,
  };
  const int32_t* table = kv->block_table + origin / KV_BLOCK;
  for (int b = p.first; b < p.last; b++) {
    const int64_t offset = kv_offset(table[b], kv->kv_head, kv->num_kv_heads, kv->head_dim);
    p.keys[b] = kv->keys + offset;
    p.values[b] = kv->values + offset;
  }
  return p;
}

// Partial results of `count` queries over the keys that each sees among those of the partition at
// `origin`. A query that sees none gets l = 0 and m and o of no meaning.
ALWAYS_INLINE void attend_group(const kv_view* kv, const query_row* rows, const int count, int origin,
                                float scale, int fetch, float* const* o) {
  int begin[GROUP_ROWS], end[GROUP_ROWS];
  int lowest = PARTITION, highest = 0, common_begin = 0, common_end = PARTITION;
  for (int i = 0; i < count; i++) {
    begin[i] = max_int(0, rows[i].begin - origin);
    end[i] = min_int(PARTITION, rows[i].end - origin);
    common_begin = max_int(common_begin, begin[i]);
    common_end = min_int(common_end, end[i]);
    if (begin[i] >= end[i]) continue;
    lowest = min_int(lowest, begin[i]);
    highest = max_int(highest, end[i]);
  }

  const partition_blocks p = find_blocks(kv, origin, lowest, highest);
  float scores[GROUP_ROWS][PARTITION];
  score_group(rows, count, &p, fetch, scores);
  const int dim = kv->head_dim;
  for (int i = 0; i < count; i++) {
    memset(o[i], 0, (size_t)partial_size(dim) * sizeof(float));
    if (begin[i] < end[i]) {
      float* ml = o[i] + padded_dim(dim);
      exponentials(scores[i], begin[i], end[i], scale, &ml[0], &ml[1]);
    }
  }
  // The keys that all of them see are loaded once; what only some see comes before and after.
  if (common_begin >= common_end) {
    for (int i = 0; i < count; i++) {
      add_row_values(scores + i, o + i, &p, begin[i], end[i]);
    }
    return;
  }
  for (int i = 0; i < count; i++) {
    add_row_values(scores + i, o + i, &p, begin[i], common_begin);
  }
  add_value_range(scores, o, count, &p, common_begin, common_end);
  for (int i = 0; i < count; i++) {
    add_row_values(scores + i, o + i, &p, common_end, end[i]);
  }
}

void weft_attend_partition(const kv_view* kv, const query_row* rows, int count, int partition,
                           float scale, float* partials) {
  const int64_t size = partial_size(kv->head_dim);
  const int origin = partition * PARTITION;
  for (int first = 0; first < count; first += GROUP_ROWS) {
    float* group[GROUP_ROWS];
    for (int i = 0; i < GROUP_ROWS; i++) group[i] = partials + (first + i) * size;
    const int fetch = first == 0;
    switch (count - first) {
      case 1: attend_group(kv, rows + first, 1, origin, scale, fetch, group); break;
      case 2: attend_group(kv, rows + first, 2, origin, scale, fetch, group); break;
      case 3: attend_group(kv, rows + first, 3, origin, scale, fetch, group); break;
      default: attend_group(kv, rows + first, GROUP_ROWS, origin, scale, fetch, group);
    }
  }
}

void weft_merge_partial(float* total, const float* partial, int head_dim) {
  const int m = padded_dim(head_dim), l = m + 1;
  if (partial[l] == 0) return;
  if (total[l] == 0) {
    memcpy(total, partial, (size_t)partial_size(head_dim) * sizeof(float));
    return;
  }
  const float largest = total[m] > partial[m] ? total[m] : partial[m];
  const f32x16 kept = f32x16_exp(f32x16_set1(total[m] - largest));
  const f32x16 joined = f32x16_exp(f32x16_set1(partial[m] - largest));
  // The last vector scales l along with o; its other lanes mean nothing, and m is then set.
  for (int d = 0; d < partial_size(head_dim); d += 16) {
    const f32x16 old = f32x16_mul(f32x16_load(total + d), kept);
    f32x16_store(total + d, f32x16_fma(f32x16_load(partial + d), joined, old));
  }
  total[m] = largest;
}

void weft_store_attention(float* out, const float* total, int head_dim) {
  const f32x16 l = f32x16_set1(total[padded_dim(head_dim) + 1]);
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 o = f32x16_div(f32x16_load(total + d), l);
    f32x16_store_n(out + d, o, min_int(16, head_dim - d));
  }
}
