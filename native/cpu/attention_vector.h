// Products of a group of queries in tiles of vectors. Included by files that have defined
// score_blocks() and add_values() for numbers of queries, blocks and vectors that are constants.

// Runs `call` for `n` rows from `row` on, n a constant, until all of `count` had their turn.
#define FOR_CONSTANT_ROWS(count, call)            \
  for (int row = 0; row < (count);) {             \
    const int left = (count) - row;               \
    if (left >= GROUP_ROWS) {                     \
      enum { n = GROUP_ROWS };                    \
      call;                                       \
      row += n;                                   \
    } else if (left >= 4) {                       \
      enum { n = 4 };                             \
      call;                                       \
      row += n;                                   \
    } else if (left == 3) {                       \
      enum { n = 3 };                             \
      call;                                       \
      row += n;                                   \
    } else if (left == 2) {                       \
      enum { n = 2 };                             \
      call;                                       \
      row += n;                                   \
    } else {                                      \
      enum { n = 1 };                             \
      call;                                       \
      row += n;                                   \
    }                                             \
  }

ALWAYS_INLINE void score_rows(const query_operand* queries, const int count,
                              const partition_blocks* p, const int fetch,
                              float (*scores)[PARTITION]) {
  const int blocks = SCORE_BLOCKS(count);
  int block = p->first;
  for (; block + blocks <= p->last; block += blocks) {
    score_blocks(queries, count, p, block, blocks, fetch, scores);
  }
  for (; block < p->last; block++) score_blocks(queries, count, p, block, 1, fetch, scores);
}

static void score_group(const query_operand* queries, int count, const partition_blocks* p,
                        int fetch, float (*scores)[PARTITION]) {
  if (fetch) {
    FOR_CONSTANT_ROWS(count, score_rows(queries + row, n, p, 1, scores + row))
  } else {
    FOR_CONSTANT_ROWS(count, score_rows(queries + row, n, p, 0, scores + row))
  }
}

ALWAYS_INLINE void add_row_values(const weight_row* weights, const int count,
                                  const partition_blocks* p, float* o) {
  const int dim = kv_padded_dim(p->head_dim), step = 16 * VALUE_VECTORS(count);
  int first = 0;
  for (; first + step <= dim; first += step) {
    add_values(weights, o, count, p, first, VALUE_VECTORS(count));
  }
  for (; first < dim; first += 16) add_values(weights, o, count, p, first, 1);
}

static void add_group_values(const weight_row* weights, int count, const partition_blocks* p,
                             float* o) {
  const int64_t size = partial_size(p->head_dim);
  FOR_CONSTANT_ROWS(count, add_row_values(weights + row, n, p, o + row * size))
}
