// Embedding: rows of a table by token id, in any stored format or out of bf16 panels.
#include "linear.h"
#include "linear_panels.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const int32_t* ids;
  const weft_weight* table;
  int64_t first_id;
} embedding_context;

// A sum with the other shards' +0 turns -0 into +0: so must a table that is not sharded.
static void write_n(float* out, const void* stored, int64_t i, int n, int format) {
  f32x16_store_n(out, f32x16_add(f32x16_load_as_n(stored, i, n, format), f32x16_zero()), n);
}

// Writes row `row`, which is in the table, out of its panel, where its pairs lie PANEL_PAIR apart.
static void write_panel_row(float* out, const weft_weight* table, int64_t row) {
  const weft_panels* panels = table->packed;
  const uint16_t* lane = panels->data + row / PANEL_OUTPUTS * weft_panel_size(panels) +
                         row % PANEL_OUTPUTS * 2;
  const int64_t block_size = table->block_size > 0 ? table->block_size : table->in_features;
  for (int64_t block = 0; block * block_size < table->in_features; block++) {
    const int64_t begin = block * block_size;
    const int64_t left = table->in_features - begin;
    const int64_t size = left < block_size ? left : block_size;
    const uint16_t* pairs = lane + block * panels->block_pairs * PANEL_PAIR;
    for (int64_t k = 0; k < size; k += 16) {
      const int n = size - k < 16 ? (int)(size - k) : 16;
      uint16_t values[16];
      for (int i = 0; i < n; i += 2) {
        memcpy(values + i, pairs + (k + i) / 2 * PANEL_PAIR, 2 * sizeof(uint16_t));
      }
      write_n(out + begin + k, values, 0, n, WEFT_BF16);
    }
  }
}

// Row `row`, which is in the table, as it is stored.
static const void* table_row(const weft_weight* table, int64_t row, int* format) {
  const weft_segment* segment = table->segments;
  for (; row >= segment->rows; segment++) row -= segment->rows;
  *format = (int)segment->format;
  return (const char*)segment->data + row * segment->stride * (*format == WEFT_F32 ? 4 : 2);
}

static void embedding_task(void* argument, int64_t begin, int64_t end) {
  const embedding_context* c = argument;
  const int64_t size = c->table->in_features;
  for (int64_t t = begin; t < end; t++) {
    float* out = c->out + t * c->out_stride;
    const int64_t row = c->ids[t] - c->first_id;
    if (row < 0 || row >= c->table->out_features) {
      memset(out, 0, (size_t)size * sizeof(float));
    } else if (c->table->kind == WEFT_PANELS) {
      write_panel_row(out, c->table, row);
    } else {
      int format = WEFT_F32;
      const void* stored = table_row(c->table, row, &format);
      for (int64_t i = 0; i < size; i += 16) {
        write_n(out + i, stored, i, size - i < 16 ? (int)(size - i) : 16, format);
      }
    }
  }
}

// out[t] = table[ids[t] - first_id], or zeros where that row is not in the table.
void weft_embedding(weft_pool* pool, float* out, int32_t out_stride, const int32_t* ids,
                    const weft_weight* table, int32_t rows, int32_t first_id) {
  embedding_context context = {out, out_stride, ids, table, first_id};
  weft_pool_run(pool, embedding_task, &context, rows, 16);
}
