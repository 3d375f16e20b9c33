// Causal attention over the paged cache: prefill chunks and decoding tokens in one call.
//
// The order of every sum is fixed by absolute positions (NUMERICS.md 5). Keys are cut into partitions
// of 256 positions. In a partition a query has its own maximum m, sum l of 2^(score - m), and sum o of
// values with these weights, added key by key; partitions are then merged in order. A key that a query
// does not see (later, out of the window, or never written) takes no part in its sums, not even as a
// product with zero where that could be no number, so whatever lies there cannot show. How queries are
// grouped, and which thread works on which, changes how often a key is loaded and nothing else.
#include "attention_partition.h"
#include "pool.h"

// Scores are kept in bits: weights are powers of two.
#define LOG2_E 1.44269504f

// With fewer tiles a thread, the partitions of a tile become work items of their own.
enum { SPLIT_TILES_PER_THREAD = 8 };

// Numbers below which waking the pool to merge them costs more than it saves.
enum { MERGE_PIECE = 16384 };

// Queries of one sequence that read the same key/value head, in order of token, then head.
typedef struct {
  int32_t sequence;
  int32_t kv_head;
  int32_t first_row;  // row / heads is the token in the sequence, row % heads picks the head
  int32_t rows;
  int32_t first_partition;
  int32_t partitions;
  int64_t first_unit;  // partitions of the tiles before this one
  float* partials;     // [partitions][rows] of partial_size floats, when partitions are split
} tile;

typedef struct {
  float* out;
  int64_t out_stride;
  const float* queries;
  int64_t query_stride;
  const char* keys;
  const char* values;
  int32_t type;
  const int32_t* query_starts;
  const int32_t* context_starts;
  const int32_t* table_rows;
  const int32_t* block_tables;
  int32_t max_blocks;
  int32_t num_kv_heads;
  int32_t head_dim;
  float scale;
  int32_t window;
  const int32_t* heads;        // query heads, grouped by the key/value head that they read
  const int32_t* head_starts;  // [num_kv_heads + 1]: each group's begin in `heads`
  tile* tiles;
  int32_t num_tiles;
} attention;

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }

static void load_rows(const attention* a, const tile* t, query_row* rows) {
  const int32_t* heads = a->heads + a->head_starts[t->kv_head];
  const int group = a->head_starts[t->kv_head + 1] - a->head_starts[t->kv_head];
  for (int i = 0; i < t->rows; i++) {
    const int token = (t->first_row + i) / group;
    const int64_t offset = (int64_t)heads[(t->first_row + i) % group] * a->head_dim;
    const int64_t line = a->query_starts[t->sequence] + token;
    const int position = a->context_starts[t->sequence] + token;
    rows[i] = (query_row){
        .query = a->queries + line * a->query_stride + offset,
        .out = a->out + line * a->out_stride + offset,
        .begin = a->window > 0 ? max_int(0, position + 1 - a->window) : 0,
        .end = position + 1,
    };
  }
}

static const int32_t* table_of(const attention* a, int sequence) {
  return a->block_tables + (int64_t)a->table_rows[sequence] * a->max_blocks;
}

static kv_view kv_of(const attention* a, const tile* t) {
  return (kv_view){
      .keys = a->keys,
      .values = a->values,
      .block_table = table_of(a, t->sequence),
      .type = a->type,
      .kv_head = t->kv_head,
      .num_kv_heads = a->num_kv_heads,
      .head_dim = a->head_dim,
  };
}

// Whole tiles, one after another. The last tiles of a prompt see the most keys: they go first.
static void attend_tiles(void* context, int64_t begin, int64_t end) {
  const attention* a = context;
  const int64_t size = partial_size(a->head_dim);
  _Alignas(64) float partials[TILE_ROWS * MAX_PARTIAL_SIZE];
  _Alignas(64) float totals[TILE_ROWS * MAX_PARTIAL_SIZE];
  for (int64_t item = begin; item < end; item++) {
    const tile* t = &a->tiles[a->num_tiles - 1 - item];
    query_row rows[TILE_ROWS];
    load_rows(a, t, rows);
    const kv_view kv = kv_of(a, t);
    weft_attend_partition(&kv, rows, t->rows, t->first_partition, a->scale, totals);
    for (int p = 1; p < t->partitions; p++) {
      weft_attend_partition(&kv, rows, t->rows, t->first_partition + p, a->scale, partials);
      for (int i = 0; i < t->rows; i++) {
        weft_merge_partial(totals + i * size, partials + i * size, a->head_dim);
      }
    }
    for (int i = 0; i < t->rows; i++) weft_store_attention(rows[i].out, totals + i * size, a->head_dim);
  }
}

// Single partitions of tiles, counted over all tiles, into the tiles' partials.
static void attend_units(void* context, int64_t begin, int64_t end) {
  const attention* a = context;
  const tile* t = a->tiles;
  for (int64_t unit = begin; unit < end; unit++) {
    while (unit >= t->first_unit + t->partitions) t++;
    query_row rows[TILE_ROWS];
    load_rows(a, t, rows);
    const kv_view kv = kv_of(a, t);
    const int64_t p = unit - t->first_unit;
    weft_attend_partition(&kv, rows, t->rows, t->first_partition + (int)p, a->scale,
                     t->partials + p * t->rows * partial_size(a->head_dim));
  }
}

static void merge_tiles(void* context, int64_t begin, int64_t end) {
  const attention* a = context;
  const int64_t size = partial_size(a->head_dim);
  for (int64_t item = begin; item < end; item++) {
    const tile* t = &a->tiles[item];
    query_row rows[TILE_ROWS];
    load_rows(a, t, rows);
    for (int i = 0; i < t->rows; i++) {
      float* total = t->partials + i * size;
      for (int p = 1; p < t->partitions; p++) {
        weft_merge_partial(total, total + (int64_t)p * t->rows * size, a->head_dim);
      }
      weft_store_attention(rows[i].out, total, a->head_dim);
    }
  }
}

// Groups query heads by the key/value head that they read; false when one reads none.
static int group_heads(const int32_t* kv_head_of_head, int num_heads, int num_kv_heads,
                       int32_t* heads, int32_t* head_starts) {
  int count = 0;
  for (int kv_head = 0; kv_head < num_kv_heads; kv_head++) {
    head_starts[kv_head] = count;
    for (int head = 0; head < num_heads; head++) {
      if (kv_head_of_head[head] == kv_head) heads[count++] = head;
    }
  }
  head_starts[num_kv_heads] = count;
  return count == num_heads;
}

// True when the blocks that hold positions [begin, end) of the sequence exist.
static int has_blocks(const attention* a, int sequence, int64_t begin, int64_t end,
                      int num_blocks) {
  if (end > (int64_t)a->max_blocks * KV_BLOCK) return 0;
  const int32_t* table = table_of(a, sequence);
  for (int64_t b = begin / KV_BLOCK; b <= (end - 1) / KV_BLOCK; b++) {
    if (table[b] < 0 || table[b] >= num_blocks) return 0;
  }
  return 1;
}

static void add_tiles(attention* a, int sequence, int tokens, int64_t* units) {
  for (int kv_head = 0; kv_head < a->num_kv_heads; kv_head++) {
    const int rows = tokens * (a->head_starts[kv_head + 1] - a->head_starts[kv_head]);
    for (int row = 0; row < rows; row += TILE_ROWS) {
      tile* t = &a->tiles[a->num_tiles++];
      *t = (tile){.sequence = sequence,
                  .kv_head = kv_head,
                  .first_row = row,
                  .rows = min_int(TILE_ROWS, rows - row),
                  .first_unit = *units};
      query_row queries[TILE_ROWS];
      load_rows(a, t, queries);
      t->first_partition = queries[0].begin / PARTITION;
      t->partitions = (queries[t->rows - 1].end - 1) / PARTITION + 1 - t->first_partition;
      *units += t->partitions;
    }
  }
}

static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t tables_bytes(int num_heads, int num_kv_heads) {
  return aligned((num_heads + num_kv_heads + 1) * (int64_t)sizeof(int32_t));
}

// Bytes of scratch that a step of this size needs; with more, partitions are worked on in parallel.
int64_t weft_attention_scratch_bytes(int32_t tokens, int32_t sequences, int32_t num_heads,
                                     int32_t num_kv_heads) {
  const int64_t tiles =
      (int64_t)tokens * num_heads / TILE_ROWS + (int64_t)sequences * num_kv_heads;
  return tables_bytes(num_heads, num_kv_heads) + aligned(tiles * (int64_t)sizeof(tile));
}

// Hands the rest of the scratch out to the tiles; false when it does not suffice.
static int place_partials(attention* a, char* scratch, const char* scratch_end) {
  float* next = (float*)scratch;
  for (int i = 0; i < a->num_tiles; i++) {
    a->tiles[i].partials = next;
    next += (int64_t)a->tiles[i].partitions * a->tiles[i].rows * partial_size(a->head_dim);
    if ((const char*)next > scratch_end) return 0;
  }
  return 1;
}

// out[t, head] = softmax(scale * queries[t, head] . keys) values, over the keys at positions up to that
// of token t. Heads are head_dim apart in a row, rows are their strides apart. Returns -1; or the first
// sequence whose tokens or blocks are out of range, or -2 when kv_head_of_head is: then nothing was
// computed.
int32_t weft_paged_attention(weft_pool* pool, float* out, int32_t out_stride, const float* queries,
                             int32_t query_stride, const char* keys, const char* values,
                             int32_t type, int32_t num_blocks, const int32_t* query_starts,
                             const int32_t* context_starts, const int32_t* table_rows,
                             const int32_t* block_tables, int32_t num_tables,
                             int32_t max_blocks, int32_t tokens, int32_t sequences,
                             const int32_t* kv_head_of_head, int32_t num_heads,
                             int32_t num_kv_heads, int32_t head_dim, float scale,
                             int32_t sliding_window, char* scratch, int64_t scratch_bytes) {
  int32_t* const heads = (int32_t*)scratch;
  int32_t* const head_starts = heads + num_heads;
  attention a = {
      .out = out,
      .out_stride = out_stride,
      .queries = queries,
      .query_stride = query_stride,
      .keys = keys,
      .values = values,
      .type = type,
      .query_starts = query_starts,
      .context_starts = context_starts,
      .table_rows = table_rows,
      .block_tables = block_tables,
      .max_blocks = max_blocks,
      .num_kv_heads = num_kv_heads,
      .head_dim = head_dim,
      .scale = scale * LOG2_E,
      .window = sliding_window,
      .heads = heads,
      .head_starts = head_starts,
      .tiles = (tile*)(scratch + tables_bytes(num_heads, num_kv_heads)),
  };
  if (!group_heads(kv_head_of_head, num_heads, num_kv_heads, heads, head_starts)) return -2;

  int64_t units = 0;
  for (int s = 0; s < sequences; s++) {
    const int64_t first = query_starts[s], last = query_starts[s + 1];
    if (first < 0 || last < first || last > tokens) return s;
    if (first == last) continue;
    const int64_t begin = context_starts[s], end = begin + (last - first);
    const int64_t outside = sliding_window > 0 ? begin + 1 - sliding_window : 0;
    const int64_t seen = outside > 0 ? outside : 0;
    if (table_rows[s] < 0 || table_rows[s] >= num_tables) return s;
    if (begin < 0 || !has_blocks(&a, s, seen, end, num_blocks)) return s;
    add_tiles(&a, s, (int)(last - first), &units);
  }

  const int64_t threads = weft_pool_threads(pool);
  char* const partials = (char*)a.tiles + aligned(a.num_tiles * (int64_t)sizeof(tile));
  if (threads > 1 && units > a.num_tiles && a.num_tiles < threads * SPLIT_TILES_PER_THREAD &&
      place_partials(&a, partials, scratch + scratch_bytes)) {
    weft_pool_run(pool, attend_units, &a, units, 1);
    const int64_t tile_size = (a.tiles[a.num_tiles - 1].partials - a.tiles[0].partials) / a.num_tiles;
    weft_pool_run(pool, merge_tiles, &a, a.num_tiles, MERGE_PIECE / (tile_size + 1) + 1);
  } else {
    weft_pool_run(pool, attend_tiles, &a, a.num_tiles, 1);
  }
  return -1;
}
