// Products of integers in matrix tiles: the planes of queries or weights are A, keys and values are
// B as they lie in the cache. Included by attention_int8.c. Sums are the same integers as those of
// vectors.

// Tiles 0 and 1 hold sums of the high plane, 2 and 3 those of the low one, of up to 16 queries.
enum { TILE_HIGH = 4, TILE_LOW = 5 };

static void configure(int rows, int quads) {
  amx_shapes shapes = {0};
  for (int i = 0; i < 4; i++) amx_set_shape(&shapes, i, rows, AMX_ROW_BYTES);
  amx_set_shape(&shapes, TILE_HIGH, rows, quads * 4);
  amx_set_shape(&shapes, TILE_LOW, rows, quads * 4);
  amx_set_shape(&shapes, 6, quads, AMX_ROW_BYTES);
  amx_set_shape(&shapes, 7, quads, AMX_ROW_BYTES);
  amx_configure(&shapes);
}

typedef struct {
  _Alignas(64) int32_t high[2][AMX_ROWS][16];  // tile, row, column
  _Alignas(64) int32_t low[2][AMX_ROWS][16];
} plane_sums;

// Adds products with one or two tiles of B.
ALWAYS_INLINE void multiply(const int8_t* high, const int8_t* low, int64_t row_bytes,
                            const char* left, const char* right, int64_t b_bytes,
                            const int tiles) {
  amx_load(TILE_HIGH, high, row_bytes);
  amx_load(TILE_LOW, low, row_bytes);
  amx_load(6, left, b_bytes);
  amx_dot_s8u8(0, TILE_HIGH, 6);
  amx_dot_s8u8(2, TILE_LOW, 6);
  if (tiles == 2) {
    amx_load(7, right, b_bytes);
    amx_dot_s8u8(1, TILE_HIGH, 7);
    amx_dot_s8u8(3, TILE_LOW, 7);
  }
}

ALWAYS_INLINE void begin_sums(const int tiles) {
  amx_zero(0);
  amx_zero(2);
  if (tiles == 2) {
    amx_zero(1);
    amx_zero(3);
  }
}

ALWAYS_INLINE void store_sums(plane_sums* sums, const int tiles) {
  amx_store(0, sums->high[0], AMX_ROW_BYTES);
  amx_store(2, sums->low[0], AMX_ROW_BYTES);
  if (tiles == 2) {
    amx_store(1, sums->high[1], AMX_ROW_BYTES);
    amx_store(3, sums->low[1], AMX_ROW_BYTES);
  }
}

// Scores of `count` queries and the keys of `blocks` blocks, 2 or 1.
ALWAYS_INLINE void score_tiles(const query_operand* queries, int count, const partition_blocks* p,
                               int block, const int blocks, int quads, float (*scores)[PARTITION]) {
  begin_sums(blocks);
  for (int d = 0; d < kv_padded_dim(p->head_dim); d += 4 * quads) {
    const int64_t offset = (int64_t)d * KV_BLOCK;
    multiply(queries->high + d, queries->low + d, sizeof(query_operand), p->keys[block] + offset,
             p->keys[block + blocks - 1] + offset, AMX_ROW_BYTES, blocks);
  }
  plane_sums sums;
  store_sums(&sums, blocks);
  for (int b = 0; b < blocks; b++) {
    const f32x16 scales = f32x16_load(scales_of(p->keys[block + b], p->head_dim));
    for (int i = 0; i < count; i++) {
      const i32x16 high = i32x16_add(i32x16_load(sums.high[b][i]), sums_start(queries[i].high_sum));
      const i32x16 low = i32x16_add(i32x16_load(sums.low[b][i]), sums_start(queries[i].low_sum));
      const f32x16 scale = f32x16_mul(scales, f32x16_set1(queries[i].scale));
      f32x16_store(scores[i] + (block + b) * KV_BLOCK, scaled_score(high, low, scale));
    }
  }
}

static void fetch_block(const partition_blocks* p, int block) {
  const int64_t bytes = kv_head_bytes(KV_INT8, p->head_dim);
  const int ahead = min_int(block + BLOCKS_AHEAD, p->last - 1);
  for (int64_t i = 0; i < bytes; i += 64) fetch_line(p, block, ahead, i);
}

static void score_group(const query_operand* queries, int count, const partition_blocks* p,
                        int fetch, float (*scores)[PARTITION]) {
  const int dim = kv_padded_dim(p->head_dim);
  const int quads = dim % 64 == 0 ? 16 : dim % 32 == 0 ? 8 : 4;
  configure(count, quads);
  for (int block = p->first, blocks; block < p->last; block += blocks) {
    blocks = block + 2 <= p->last ? 2 : 1;
    for (int b = 0; fetch && b < blocks; b++) fetch_block(p, block + b);
    if (blocks == 2) {
      score_tiles(queries, count, p, block, 2, quads, scores);
    } else {
      score_tiles(queries, count, p, block, 1, quads, scores);
    }
  }
  amx_release();
}

// Sums of values, weighted: elements [first, first + 16 * vectors) of each row's o, which holds
// int32 until finish_values(); vectors is 2 or 1.
ALWAYS_INLINE void add_value_tiles(const weight_row* weights, int count, const partition_blocks* p,
                                   int first, const int vectors, float* o) {
  begin_sums(vectors);
  for (int block = p->first; block < p->last; block++) {
    const int key = block * KV_BLOCK;
    const char* values = p->values[block] + first * 4;
    multiply(weights->high + key, weights->low + key, sizeof(weight_row), values,
             values + AMX_ROW_BYTES, kv_padded_dim(p->head_dim) * 4, vectors);
  }
  plane_sums sums;
  store_sums(&sums, vectors);
  for (int i = 0; i < count; i++) {
    int32_t* out = (int32_t*)(o + i * partial_size(p->head_dim) + first);
    for (int v = 0; v < vectors; v++) {
      const i32x16 high = i32x16_load(sums.high[v][i]), low = i32x16_load(sums.low[v][i]);
      i32x16_store(out + v * 16, join_planes(high, low));
    }
  }
}

static void add_group_values(const weight_row* weights, int count, const partition_blocks* p,
                             float* o) {
  const int dim = kv_padded_dim(p->head_dim);
  configure(count, KV_BLOCK / 4);
  int first = 0;
  for (; first + 32 <= dim; first += 32) add_value_tiles(weights, count, p, first, 2, o);
  for (; first < dim; first += 16) add_value_tiles(weights, count, p, first, 1, o);
  amx_release();
}
