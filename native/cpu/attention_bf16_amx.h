// Products of bf16 in matrix tiles: queries or weights are A, keys and values are B as they lie in
// the cache. Included by attention_bf16.c. A product's sum is cut where blocks and tiles of one
// depth end, so it depends on the size of a head alone; rows that aren't there change none of it.

// Tiles 0 to 3 hold sums of up to 16 queries.
enum { TILE_A = 4, TILE_B = 6 };

static void configure(int rows, int pairs) {
  amx_shapes shapes = {0};
  for (int i = 0; i < 4; i++) amx_set_shape(&shapes, i, rows, AMX_ROW_BYTES);
  amx_set_shape(&shapes, TILE_A, rows, pairs * 4);
  for (int i = 0; i < 2; i++) amx_set_shape(&shapes, TILE_B + i, pairs, AMX_ROW_BYTES);
  amx_configure(&shapes);
}

// Dot products of the queries with the keys of `blocks` blocks, 4 or 1.
ALWAYS_INLINE void score_tiles(const query_operand* queries, const partition_blocks* p, int block,
                               const int blocks, int pairs, float* scores) {
  const char* const* keys = p->keys + block;
  amx_zero(0);
  if (blocks == 4) {
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
  }
  for (int d = 0; d < kv_padded_dim(p->head_dim); d += 2 * pairs) {
    const int64_t offset = (int64_t)d * 2 * KV_BLOCK;
    amx_load(TILE_A, queries->elements + d, sizeof(query_operand));
    amx_load(6, keys[0] + offset, AMX_ROW_BYTES);
    amx_dot_bf16(0, TILE_A, 6);
    if (blocks == 4) {
      amx_load(7, keys[1] + offset, AMX_ROW_BYTES);
      amx_dot_bf16(1, TILE_A, 7);
      amx_load(6, keys[2] + offset, AMX_ROW_BYTES);
      amx_dot_bf16(2, TILE_A, 6);
      amx_load(7, keys[3] + offset, AMX_ROW_BYTES);
      amx_dot_bf16(3, TILE_A, 7);
    }
  }
  const int64_t stride = PARTITION * sizeof(float);
  amx_store(0, scores + block * KV_BLOCK, stride);
  if (blocks == 4) {
    amx_store(1, scores + (block + 1) * KV_BLOCK, stride);
    amx_store(2, scores + (block + 2) * KV_BLOCK, stride);
    amx_store(3, scores + (block + 3) * KV_BLOCK, stride);
  }
}

static void fetch_block(const partition_blocks* p, int block) {
  const int64_t bytes = kv_head_bytes(KV_BF16, p->head_dim);
  const int ahead = min_int(block + BLOCKS_AHEAD, p->last - 1);
  for (int64_t i = 0; i < bytes; i += 64) fetch_line(p, block, ahead, i);
}

static void score_group(const query_operand* queries, int count, const partition_blocks* p,
                        int fetch, float (*scores)[PARTITION]) {
  const int pairs = kv_padded_dim(p->head_dim) % 32 == 0 ? 16 : 8;
  configure(count, pairs);
  for (int block = p->first, blocks; block < p->last; block += blocks) {
    blocks = block + 4 <= p->last ? 4 : 1;
    for (int b = 0; fetch && b < blocks; b++) fetch_block(p, block + b);
    if (blocks == 4) {
      score_tiles(queries, p, block, 4, pairs, scores[0]);
    } else {
      score_tiles(queries, p, block, 1, pairs, scores[0]);
    }
  }
  amx_release();
}

// Sums of values, weighted: elements [first, first + 16 * vectors) of each row's o, 4 vectors or 1.
ALWAYS_INLINE void add_value_tiles(const weight_row* weights, const partition_blocks* p, int first,
                                   const int vectors, float* o) {
  const int64_t row_bytes = kv_padded_dim(p->head_dim) * 4;
  amx_zero(0);
  if (vectors == 4) {
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
  }
  for (int block = p->first; block < p->last; block++) {
    const char* values = p->values[block] + first * 4;
    amx_load(TILE_A, weights->of + block * KV_BLOCK, sizeof(weight_row));
    amx_load(6, values, row_bytes);
    amx_dot_bf16(0, TILE_A, 6);
    if (vectors == 4) {
      amx_load(7, values + AMX_ROW_BYTES, row_bytes);
      amx_dot_bf16(1, TILE_A, 7);
      amx_load(6, values + 2 * AMX_ROW_BYTES, row_bytes);
      amx_dot_bf16(2, TILE_A, 6);
      amx_load(7, values + 3 * AMX_ROW_BYTES, row_bytes);
      amx_dot_bf16(3, TILE_A, 7);
    }
  }
  const int64_t stride = partial_size(p->head_dim) * (int64_t)sizeof(float);
  amx_store(0, o + first, stride);
  if (vectors == 4) {
    amx_store(1, o + first + 16, stride);
    amx_store(2, o + first + 32, stride);
    amx_store(3, o + first + 48, stride);
  }
}

static void add_group_values(const weight_row* weights, int count, const partition_blocks* p,
                             float* o) {
  const int dim = kv_padded_dim(p->head_dim);
  configure(count, KV_BLOCK / 2);
  int first = 0;
  for (; first + 64 <= dim; first += 64) add_value_tiles(weights, p, first, 4, o);
  for (; first < dim; first += 16) add_value_tiles(weights, p, first, 1, o);
  amx_release();
}
