// Copies stored rows into bf16 panels (linear_panels.h), once, while a weight is loaded.
#include "linear_panels.h"
#include "mapped_pages.h"
#include "pool.h"
#include "simd.h"

// Rows of one part of a weight, and where they go. Elements lie at row * row_stride + k *
// column_stride, one of the strides being 1.
typedef struct {
  uint16_t* panels;
  int64_t blocks;
  int64_t block_pairs;
  int64_t block_size;
  int64_t first_row;  // in the weight
  const char* source;
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int64_t column_stride;
  int format;
  int mapped;
} pack_context;

// How far ahead rows are asked for, as sixteen are read in turns, a cache line of each at a time.
enum { PREFETCH_COLUMNS = 256 };

static int64_t element_bytes(int format) { return format == WEFT_F32 ? 4 : 2; }

static void narrow_n(uint16_t* out, const void* source, int64_t i, int n, int format) {
  if (format == WEFT_BF16) {
    memcpy(out, (const uint16_t*)source + i, (size_t)n * 2);
  } else {
    f32x16_store_bf16_n(out, f32x16_load_as_n(source, i, n, format), n);
  }
}

// tile[r][k] = element [row + r, column + k], for up to 16 rows and 32 columns; others are zero.
static void read_tile(uint16_t tile[16][32], const pack_context* c, int64_t row, int rows,
                      int64_t column, int columns) {
  memset(tile, 0, 16 * 32 * sizeof(uint16_t));
  if (c->column_stride == 1) {
    for (int r = 0; r < rows; r++) {
      for (int k = 0; k < columns; k += 16) {
        const int n = columns - k < 16 ? columns - k : 16;
        narrow_n(tile[r] + k, c->source, (row + r) * c->row_stride + column + k, n, c->format);
      }
    }
    return;
  }
  for (int k = 0; k < columns; k++) {
    uint16_t narrow[16];
    narrow_n(narrow, c->source, row + (column + k) * c->column_stride, rows, c->format);
    for (int r = 0; r < rows; r++) tile[r][k] = narrow[r];
  }
}

// Sixteen whole rows by 32 columns, stored as bf16: nearly all of most weights.
static void pack_whole(uint16_t* out, const uint16_t* source, int64_t row_stride) {
  uint32_t pairs[16][16];
  for (int r = 0; r < 16; r++) {
    memcpy(pairs[r], source + r * row_stride, sizeof pairs[r]);
    __builtin_prefetch(source + r * row_stride + PREFETCH_COLUMNS);
  }
  uint32_t beside[16][16];
  for (int pair = 0; pair < 16; pair++) {
    for (int r = 0; r < 16; r++) beside[pair][r] = pairs[r][pair];
  }
  memcpy(out, beside, sizeof beside);
}

// Rows [row, row + rows) of the part, which lie in one panel.
static void pack_rows(const pack_context* c, int64_t row, int rows) {
  const int64_t output = c->first_row + row;
  const int lane = (int)(output % PANEL_OUTPUTS);
  uint16_t* panel =
      c->panels + output / PANEL_OUTPUTS * c->blocks * c->block_pairs * PANEL_PAIR;
  for (int64_t block = 0; block < c->blocks; block++) {
    const int64_t begin = block * c->block_size;
    const int64_t left = c->columns - begin;
    const int64_t size = left < c->block_size ? left : c->block_size;
    for (int64_t k = 0; k < size; k += 32) {
      const int columns = size - k < 32 ? (int)(size - k) : 32;
      uint16_t* out = panel + (block * c->block_pairs + k / 2) * PANEL_PAIR + lane * 2;
      if (rows == 16 && columns == 32 && c->format == WEFT_BF16 && c->column_stride == 1) {
        const uint16_t* source = (const uint16_t*)c->source;
        pack_whole(out, source + row * c->row_stride + begin + k, c->row_stride);
        continue;
      }
      uint16_t tile[16][32];
      read_tile(tile, c, row, rows, begin + k, columns);
      uint32_t pairs[16][16];
      memcpy(pairs, tile, sizeof pairs);
      for (int pair = 0; pair < (columns + 1) / 2; pair++) {
        uint32_t beside[16];
        for (int r = 0; r < 16; r++) beside[r] = pairs[r][pair];
        memcpy(out + pair * PANEL_PAIR, beside, (size_t)rows * sizeof(uint32_t));
      }
    }
  }
}

// Item i is the i-th panel that the part touches.
static void pack_task(void* argument, int64_t begin, int64_t end) {
  const pack_context* c = argument;
  const int64_t first_panel = c->first_row / PANEL_OUTPUTS;
  int64_t row = (first_panel + begin) * PANEL_OUTPUTS - c->first_row;
  int64_t last = (first_panel + end) * PANEL_OUTPUTS - c->first_row;
  if (row < 0) row = 0;
  if (last > c->rows) last = c->rows;
  const char* source = c->source + row * c->row_stride * element_bytes(c->format);
  while (row < last) {
    const int64_t room = PANEL_OUTPUTS - (c->first_row + row) % PANEL_OUTPUTS;
    const int rows = (int)(last - row < room ? last - row : room);
    pack_rows(c, row, rows);
    row += rows;
  }
  if (c->mapped && c->column_stride == 1) {
    weft_give_back(source, c->source + last * c->row_stride * element_bytes(c->format));
  }
}

// Bytes that are packed before their pages are given back.
enum { PACK_BYTES = 1024 * 1024 };

// Rows [first_row, first_row + rows) of the weight that `panels`, which holds zeros, will be: element
// [row, k] lies at source[row * row_stride + k * column_stride]. `mapped`: the source is mapped from a
// file, and not needed any more.
void weft_pack_panels(weft_pool* pool, uint16_t* panels, int32_t blocks, int32_t block_pairs,
                      int32_t block_size, int32_t first_row, const void* source, int32_t format,
                      int32_t rows, int32_t columns, int32_t row_stride, int32_t column_stride,
                      int32_t mapped) {
  if (rows == 0) return;
  pack_context context = {panels, blocks,     block_pairs,   block_size, first_row, source, rows,
                          columns, row_stride, column_stride, format,     mapped};
  const int64_t count =
      (first_row + rows - 1) / PANEL_OUTPUTS - first_row / PANEL_OUTPUTS + 1;
  const int64_t panel_bytes = (int64_t)columns * PANEL_OUTPUTS * 2;
  weft_pool_run(pool, pack_task, &context, count, PACK_BYTES / (panel_bytes + 1) + 1);
}
