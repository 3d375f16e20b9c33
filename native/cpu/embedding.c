// Embedding: rows of a table, in any stored format, by token id.
#include "linear.h"
#include "simd.h"

typedef struct {
  float* out;
  int64_t out_stride;
  const int32_t* ids;
  const weft_weight* table;
  int64_t first_id;
} embedding_context;

// The stored row, or NULL where it lies outside the table.
static const void* table_row(const weft_weight* table, int64_t row, int* format) {
  if (row < 0) return NULL;
  for (int64_t s = 0; s < table->num_segments; s++) {
    const weft_segment* segment = &table->segments[s];
    if (row < segment->rows) {
      *format = (int)segment->format;
      return (const char*)segment->data + row * segment->stride * (*format == WEFT_F32 ? 4 : 2);
    }
    row -= segment->rows;
  }
  return NULL;
}

static void embedding_task(void* argument, int64_t begin, int64_t end) {
  const embedding_context* c = argument;
  const int64_t size = c->table->in_features;
  for (int64_t t = begin; t < end; t++) {
    float* out = c->out + t * c->out_stride;
    int format = WEFT_F32;
    const void* row = table_row(c->table, c->ids[t] - c->first_id, &format);
    if (row == NULL) {
      memset(out, 0, (size_t)size * sizeof(float));
      continue;
    }
    // A sum with the other shards' +0 turns -0 into +0: so must a table that is not sharded.
    for (int64_t i = 0; i < size; i += 16) {
      const int n = size - i < 16 ? (int)(size - i) : 16;
      const f32x16 stored = f32x16_load_as_n(row, i, n, format);
      f32x16_store_n(out + i, f32x16_add(stored, f32x16_zero()), n);
    }
  }
}

// out[t] = table[ids[t] - first_id], or zeros where that row is not in the table.
void weft_embedding(weft_pool* pool, float* out, int32_t out_stride, const int32_t* ids,
                    const weft_weight* table, int32_t rows, int32_t first_id) {
  embedding_context context = {out, out_stride, ids, table, first_id};
  weft_pool_run(pool, embedding_task, &context, rows, 16);
}
