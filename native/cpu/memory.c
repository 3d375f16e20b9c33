// Memory of the CPU device, and copies that change how elements are stored.
#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"
#include "simd.h"

enum { HUGE_PAGE = 2 * 1024 * 1024 };

// 64-byte aligned memory, in huge pages where there is enough of it to fill some; NULL when there
// is none.
void* weft_allocate(uint64_t bytes) {
  const uint64_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
  if (bytes > SIZE_MAX - alignment) return NULL;
  const uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
  if (memory != NULL && alignment == HUGE_PAGE) madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

void weft_free(void* memory) { free(memory); }

// The regions may overlap.
void weft_copy(void* destination, const void* source, uint64_t bytes) {
  memmove(destination, source, bytes);
}

static float load_element(const void* p, int64_t i, int format) {
  float value;
  f32x16_store_n(&value, f32x16_load_as_n(p, i, 1, format), 1);
  return value;
}

static void store_element_n(void* p, int64_t i, f32x16 a, int n, int format) {
  switch (format) {
    case WEFT_F16: f32x16_store_f16_n((uint16_t*)p + i, a, n); break;
    case WEFT_BF16: f32x16_store_bf16_n((uint16_t*)p + i, a, n); break;
    default: f32x16_store_n((float*)p + i, a, n);
  }
}

typedef struct {
  void* out;
  const void* source;
  int64_t columns;
  int64_t row_stride;
  int64_t column_stride;
  int out_format;
  int source_format;
} convert_context;

static void convert_task(void* argument, int64_t begin, int64_t end) {
  const convert_context* c = argument;
  for (int64_t row = begin; row < end; row++) {
    for (int64_t i = 0; i < c->columns; i += 16) {
      const int n = c->columns - i < 16 ? (int)(c->columns - i) : 16;
      const int64_t first = row * c->row_stride + i * c->column_stride;
      f32x16 values;
      if (c->column_stride == 1) {
        values = f32x16_load_as_n(c->source, first, n, c->source_format);
      } else {
        float gathered[16] = {0};
        for (int j = 0; j < n; j++) {
          gathered[j] = load_element(c->source, first + j * c->column_stride, c->source_format);
        }
        values = f32x16_load(gathered);
      }
      store_element_n(c->out, row * c->columns + i, values, n, c->out_format);
    }
  }
}

// out[row, column] = source[row * row_stride + column * column_stride], rounded to nearest even
// where out_format has fewer bits. Formats are WEFT_F32, WEFT_F16, WEFT_BF16.
void weft_convert_matrix(weft_pool* pool, void* out, int32_t out_format, const void* source,
                         int32_t source_format, int32_t rows, int32_t columns, int32_t row_stride,
                         int32_t column_stride) {
  convert_context context = {out, source, columns, row_stride, column_stride, out_format,
                             source_format};
  weft_pool_run(pool, convert_task, &context, rows, 16384 / ((int64_t)columns + 1) + 1);
}
