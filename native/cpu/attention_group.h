// Attention of a group of queries over one partition of keys, for any type of keys and values. Included
// once by the file of each type, which has defined:
//
//   GROUP_KEYS      keys that a product of weights and values adds at once
//   query_operand   a query as products take it, and prepare_query()
//   weight_row      the weights of a partition's keys, and keep_weights() for 16 of them
//   finish_weights  what is left to do when a row's weights are known; finish_values(), when its sums are
//   score_blocks    products of queries and keys
//   add_values      weighted sums of values
//
// A group shares each load of a key or a value; its size shows in no result.
#include <math.h>

// The blocks of a partition that the queries of a group see: [first, last).
ALWAYS_INLINE partition_blocks find_blocks(const kv_view* kv, int origin, int lowest, int highest) {
  partition_blocks p = {
      .first = lowest / KV_BLOCK,
      .last = (highest + KV_BLOCK - 1) / KV_BLOCK,
      .head_dim = kv->head_dim,
  };
  const int64_t bytes = kv_head_bytes(kv->type, kv->head_dim);
  const int32_t* table = kv->block_table + origin / KV_BLOCK;
  for (int b = p.first; b < p.last; b++) {
    const int64_t offset = ((int64_t)table[b] * kv->num_kv_heads + kv->kv_head) * bytes;
    p.keys[b] = kv->keys + offset;
    p.values[b] = kv->values + offset;
  }
  return p;
}

ALWAYS_INLINE void score_group(const query_operand* queries, const int count,
                               const partition_blocks* p, int fetch, float (*scores)[PARTITION]) {
  const int blocks = SCORE_BLOCKS(count);
  int block = p->first;
  for (; block + blocks <= p->last; block += blocks) {
    score_blocks(queries, count, p, block, blocks, fetch, scores);
  }
  for (; block < p->last; block++) score_blocks(queries, count, p, block, 1, fetch, scores);
}

// Hides from a row what it doesn't see in the block of scores that a bound cuts.
static inline void hide_scores(float* scores, int begin, int end) {
  const f32x16 low = f32x16_set1(-INFINITY);
  if (begin % KV_BLOCK != 0) {
    float* s = scores + begin / KV_BLOCK * KV_BLOCK;
    f32x16_store(s, f32x16_select(mask16_first(begin % KV_BLOCK), low, f32x16_load(s)));
  }
  if (end % KV_BLOCK != 0) {
    float* s = scores + end / KV_BLOCK * KV_BLOCK;
    f32x16_store(s, f32x16_select(mask16_first(end % KV_BLOCK), f32x16_load(s), low));
  }
}

// Turns the scores of keys [begin, end) of the partition into weights 2^(score * scale - m), and those of
// the other keys in its blocks into zeros; returns m and l.
ALWAYS_INLINE void weigh(weight_row* weights, float* scores, const partition_blocks* p, int begin,
                         int end, float scale, float* m, float* l) {
  const int first = begin / KV_BLOCK, last = (end + KV_BLOCK - 1) / KV_BLOCK;
  hide_scores(scores, begin, end);
  f32x16 largest = f32x16_set1(-INFINITY);
  for (int block = first; block < last; block++) {
    largest = f32x16_max(largest, f32x16_load(scores + block * KV_BLOCK));
  }
  *m = f32x16_hmax(largest) * scale;

  const f32x16 factor = f32x16_set1(scale), offset = f32x16_set1(-*m);
  f32x16 sum = f32x16_zero();
  for (int block = first; block < last; block++) {
    const f32x16 s = f32x16_load(scores + block * KV_BLOCK);
    const f32x16 e = f32x16_exp2(f32x16_fma(s, factor, offset));
    keep_weights(weights, p, block, e);
    sum = f32x16_add(sum, e);
  }
  *l = f32x16_sum(sum);
}

ALWAYS_INLINE void add_value_range(const weight_row* weights, float* const* o, const int count,
                                   const partition_blocks* p, int begin, int end) {
  if (begin >= end) return;
  const int dim = kv_padded_dim(p->head_dim), step = 16 * VALUE_VECTORS(count);
  int first = 0;
  for (; first + step <= dim; first += step) {
    add_values(weights, o, count, p, begin, end, first, VALUE_VECTORS(count));
  }
  for (; first < dim; first += 16) add_values(weights, o, count, p, begin, end, first, 1);
}

static void add_row_values(const weight_row* weights, float* const* o, const partition_blocks* p,
                           int begin, int end) {
  add_value_range(weights, o, 1, p, begin, end);
}

// The keys that all of them see are loaded once; what only some see comes before and after.
ALWAYS_INLINE void add_group_values(const weight_row* weights, float* const* o, const int count,
                                    const partition_blocks* p, const int* begin, const int* end) {
  int common_begin = 0, common_end = PARTITION;
  for (int i = 0; i < count; i++) {
    common_begin = max_int(common_begin, begin[i]);
    common_end = min_int(common_end, end[i]);
  }
  common_begin = (common_begin + GROUP_KEYS - 1) / GROUP_KEYS * GROUP_KEYS;
  common_end = common_end / GROUP_KEYS * GROUP_KEYS;
  if (common_begin >= common_end) {
    for (int i = 0; i < count; i++) add_row_values(weights + i, o + i, p, begin[i], end[i]);
    return;
  }
  for (int i = 0; i < count; i++) add_row_values(weights + i, o + i, p, begin[i], common_begin);
  add_value_range(weights, o, count, p, common_begin, common_end);
  for (int i = 0; i < count; i++) add_row_values(weights + i, o + i, p, common_end, end[i]);
}

// Partial results of `count` queries over the keys that each sees among those of the partition at
// `origin`. A query that sees none gets l = 0 and m and o of no meaning.
ALWAYS_INLINE void attend_group(const kv_view* kv, const query_row* rows, const int count, int origin,
                                float scale, int fetch, float* partials) {
  const int dim = kv->head_dim;
  int begin[GROUP_ROWS], end[GROUP_ROWS], lowest = PARTITION, highest = 0;
  query_operand queries[GROUP_ROWS];
  float* o[GROUP_ROWS];
  for (int i = 0; i < count; i++) {
    o[i] = partials + i * partial_size(dim);
    memset(o[i], 0, (size_t)partial_size(dim) * sizeof(float));
    prepare_query(&queries[i], rows[i].query, dim);
    begin[i] = max_int(0, rows[i].begin - origin);
    end[i] = min_int(PARTITION, rows[i].end - origin);
    if (begin[i] >= end[i]) continue;
    lowest = min_int(lowest, begin[i]);
    highest = max_int(highest, end[i]);
  }
  if (lowest >= highest) return;

  const partition_blocks p = find_blocks(kv, origin, lowest, highest);
  _Alignas(64) float scores[GROUP_ROWS][PARTITION];
  _Alignas(64) weight_row weights[GROUP_ROWS];
  score_group(queries, count, &p, fetch, scores);
  for (int i = 0; i < count; i++) {
    if (begin[i] >= end[i]) continue;
    float* ml = o[i] + kv_padded_dim(dim);
    weigh(&weights[i], scores[i], &p, begin[i], end[i], scale, &ml[0], &ml[1]);
    finish_weights(&weights[i], begin[i], end[i]);
  }
  add_group_values(weights, o, count, &p, begin, end);
  for (int i = 0; i < count; i++) {
    if (begin[i] < end[i]) finish_values(&weights[i], o[i], dim);
  }
}

// The first group of a tile asks for keys and values ahead of their use.
ALWAYS_INLINE void attend_rows(const kv_view* kv, const query_row* rows, int count, int partition,
                               float scale, float* partials) {
  const int origin = partition * PARTITION;
  for (int row = 0; row < count;) {
    const int left = count - row, fetch = row == 0 && count <= GROUP_ROWS;
    float* o = partials + row * partial_size(kv->head_dim);
    if (left >= GROUP_ROWS) {
      attend_group(kv, rows + row, GROUP_ROWS, origin, scale, fetch, o);
      row += GROUP_ROWS;
    } else if (left >= 4) {
      attend_group(kv, rows + row, 4, origin, scale, fetch, o);
      row += 4;
    } else if (left == 3) {
      attend_group(kv, rows + row, 3, origin, scale, fetch, o);
      row += 3;
    } else if (left == 2) {
      attend_group(kv, rows + row, 2, origin, scale, fetch, o);
      row += 2;
    } else {
      attend_group(kv, rows + row, 1, origin, scale, fetch, o);
      row += 1;
    }
  }
}
