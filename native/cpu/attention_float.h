// What attention over keys and values in f32 and bf16 shares. Included by files that have defined
// weight_row and VALUE_GROUP.

static inline void clear_weights(weight_row* weights, int begin, int end) {
  memset(weights->of + begin, 0, (size_t)(end - begin) * sizeof weights->of[0]);
}

static inline void finish_weights(weight_row* weights, int begin, int end) {
  (void)weights, (void)begin, (void)end;
}

static inline void finish_values(const weight_row* weights, float* o, int head_dim) {
  (void)weights, (void)o, (void)head_dim;
}

// A weight of zero hides a key from a query as long as the value is a number: in keys that no query
// of the group sees there may lie anything. Values lie in words of 32 bits, rows of which hold
// VALUE_GROUP keys; the type has defined the bits of a row that belong to keys [begin, end) of the
// block, seen_bits(), and is_finite() of the values in a word.
typedef struct {
  uint32_t words[2][KV_BLOCK / VALUE_GROUP * MAX_HEAD_DIM];
} value_copies;

static void copy_seen(uint32_t* out, const uint32_t* values, int head_dim, int begin, int end) {
  const int dim = kv_padded_dim(head_dim);
  for (int row = 0; row < KV_BLOCK / VALUE_GROUP; row++) {
    const uint32_t seen = seen_bits(row, begin, end);
    for (int d = 0; d < dim; d++) out[row * dim + d] = values[row * dim + d] & seen;
  }
}

static int all_finite(const uint32_t* values, int head_dim) {
  int finite = 1;
  for (int row = 0; row < KV_BLOCK / VALUE_GROUP; row++) {
    const uint32_t* words = values + row * kv_padded_dim(head_dim);
    for (int d = 0; d < head_dim; d++) finite &= is_finite(words[d]);
  }
  return finite;
}

// Replaces values that no query sees by zeros. Returns 0 where one query sees a value that is no
// number and another does not: they cannot share a product.
static int hide_unseen_values(partition_blocks* p, value_copies* copies, seen_keys seen) {
  int copied = 0;
  for (int b = p->first; b < p->last; b++) {
    const int origin = b * KV_BLOCK;
    const int begin = max_int(0, seen.lowest - origin);
    const int end = min_int(KV_BLOCK, seen.highest - origin);
    if (begin > 0 || end < KV_BLOCK) {
      uint32_t* copy = copies->words[copied++];
      copy_seen(copy, (const uint32_t*)p->values[b], p->head_dim, begin, end);
      p->values[b] = (const char*)copy;
    }
    const int shared = seen.common_begin - origin <= begin && end <= seen.common_end - origin;
    if (!shared && !all_finite((const uint32_t*)p->values[b], p->head_dim)) return 0;
  }
  return 1;
}
