// Attention of a group of queries over one partition of keys, for any type of keys and values.
// Included once by the file of each type, which has defined:
//
//   query_operand     a query as products take it, and prepare_query()
//   weight_row        the weights of a partition's keys; keep_weights() for 16 of them,
//                     clear_weights() for keys that aren't seen, weight_of() a score
//   finish_weights    what is left to do when a row's weights are known
//   finish_values     what is left to do when its sums are
//   score_group       products of queries and keys
//   add_group_values  sums of values with their weights, of all keys in the partition's blocks
//   value_copies      room for hide_unseen_values(), after which a weight of zero hides a key
//
// A group shares each load of a key or a value; its size shows in no result.
#include <math.h>

// The blocks of a partition that the queries of a group see: [first, last).
static inline partition_blocks find_blocks(const kv_view* kv, int origin, seen_keys seen) {
  partition_blocks p = {
      .first = seen.lowest / KV_BLOCK,
      .last = (seen.highest + KV_BLOCK - 1) / KV_BLOCK,
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

// Turns the scores of keys [begin, end) of the partition into weights 2^(score * scale - m), and
// those of the other keys in its blocks into zeros; returns m and l.
static inline void weigh(weight_row* weights, float* scores, const partition_blocks* p, int begin,
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
    const f32x16 weight = weight_of(f32x16_fma(s, factor, offset));
    keep_weights(weights, p, block, weight);
    sum = f32x16_add(sum, weight);
  }
  *l = f32x16_sum(sum);
  clear_weights(weights, p->first * KV_BLOCK, first * KV_BLOCK);
  clear_weights(weights, last * KV_BLOCK, p->last * KV_BLOCK);
}

// Partial results of `count` queries over the keys that each sees among those of the partition at
// `origin`. A query that sees none gets l = 0 and m and o of no meaning.
static void attend_group(const kv_view* kv, const query_row* rows, int count, int origin,
                         float scale, int fetch, float* partials) {
  const int dim = kv->head_dim;
  const int64_t size = partial_size(dim);
  int begin[GROUP_ROWS], end[GROUP_ROWS];
  seen_keys seen = {.lowest = PARTITION, .highest = 0, .common_begin = 0, .common_end = PARTITION};
  for (int i = 0; i < count; i++) {
    begin[i] = max_int(0, rows[i].begin - origin);
    end[i] = min_int(PARTITION, rows[i].end - origin);
    partials[i * size + kv_padded_dim(dim) + 1] = 0;
    if (begin[i] >= end[i]) continue;
    seen.lowest = min_int(seen.lowest, begin[i]);
    seen.highest = max_int(seen.highest, end[i]);
    seen.common_begin = max_int(seen.common_begin, begin[i]);
    seen.common_end = min_int(seen.common_end, end[i]);
  }
  if (seen.lowest >= seen.highest) return;

  partition_blocks p = find_blocks(kv, origin, seen);
  _Alignas(64) value_copies copies;
  if (!hide_unseen_values(&p, &copies, seen)) {
    for (int i = 0; i < count; i++) {
      attend_group(kv, rows + i, 1, origin, scale, fetch, partials + i * size);
    }
    return;
  }
  _Alignas(64) query_operand queries[GROUP_ROWS];
  _Alignas(64) float scores[GROUP_ROWS][PARTITION];
  _Alignas(64) weight_row weights[GROUP_ROWS];
  for (int i = 0; i < count; i++) prepare_query(&queries[i], rows[i].query, dim);
  score_group(queries, count, &p, fetch, scores);
  for (int i = 0; i < count; i++) {
    if (begin[i] >= end[i]) {
      clear_weights(&weights[i], p.first * KV_BLOCK, p.last * KV_BLOCK);
      continue;
    }
    float* ml = partials + i * size + kv_padded_dim(dim);
    weigh(&weights[i], scores[i], &p, begin[i], end[i], scale, &ml[0], &ml[1]);
    finish_weights(&weights[i], begin[i], end[i]);
  }
  add_group_values(weights, count, &p, partials);
  for (int i = 0; i < count; i++) {
    if (begin[i] < end[i]) finish_values(&weights[i], partials + i * size, dim);
  }
}

// Few queries wait for memory: their group asks for keys and values ahead of their use.
static void attend_rows(const kv_view* kv, const query_row* rows, int count, int partition,
                        float scale, float* partials) {
  const int fetch = count <= FETCH_ROWS && count <= GROUP_ROWS;
  for (int row = 0; row < count; row += GROUP_ROWS) {
    attend_group(kv, rows + row, min_int(GROUP_ROWS, count - row), partition * PARTITION, scale,
                 fetch, partials + row * partial_size(kv->head_dim));
  }
}
