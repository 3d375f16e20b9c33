// Quantises dense rows into panels, once, while a weight is loaded. 8 bits: symmetric, the largest
// magnitude of a segment becomes 127. 4 bits: quantized_nibbles.c.
#include "integer_dot.h"
#include "mapped_pages.h"
#include "pool.h"
#include "quantized.h"

// Elements [row, k] lie at row * row_stride + k * column_stride, one of the strides being 1.
typedef struct {
  const weft_quantized_section* section;
  const char* source;
  int64_t first_row;  // in the section
  int64_t rows;
  int64_t row_stride;
  int64_t column_stride;
  int format;
  int mapped;
} quantize_context;

static int64_t element_bytes(int64_t format) { return format == WEFT_F32 ? 4 : 2; }

// values[r][i] = element [row + r, first + i], and zeros up to a whole vector; zeros in other rows.
static void read_rows(float values[16][WEFT_SEGMENT_INPUTS], const quantize_context* c, int64_t row,
                      int rows, const weft_quantized_segment* s) {
  const int padded = (s->length + 15) / 16 * 16;
  for (int r = rows; r < 16; r++) memset(values[r], 0, (size_t)padded * sizeof(float));
  if (c->column_stride == 1) {
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < padded; i += 16) {
        const int n = s->length - i < 16 ? s->length - i : 16;
        const int64_t at = (row + r) * c->row_stride + s->first + i;
        f32x16_store(values[r] + i, f32x16_load_as_n(c->source, at, n, c->format));
      }
    }
    return;
  }
  for (int i = 0; i < padded; i++) {
    float column[16] = {0};
    if (i < s->length) {
      const int64_t at = row + (s->first + i) * c->column_stride;
      f32x16_store(column, f32x16_load_as_n(c->source, at, rows, c->format));
    }
    for (int r = 0; r < rows; r++) values[r][i] = column[r];
  }
}

// Puts the first `rows` lanes of units to `lane` and those that follow.
static void copy_lanes(uint8_t* units, const uint8_t* from, int count, int lane, int rows) {
  for (int u = 0; u < count; u++) {
    memcpy(units + u * WEFT_UNIT_BYTES + lane * 4, from + u * WEFT_UNIT_BYTES, (size_t)rows * 4);
  }
}

// One segment of rows [row, row + rows), which begin at `lane` of a panel. `units`: the segment's.
static void pack_segment(const quantize_context* c, int64_t panel, int64_t segment, uint8_t* units,
                         int lane, int64_t row, int rows) {
  const weft_quantized_section* section = c->section;
  const weft_quantized_segment* s = &section->segments[segment];
  float values[16][WEFT_SEGMENT_INPUTS];
  read_rows(values, c, row, rows, s);
  const int64_t scale = (panel * section->num_segments + segment) * WEFT_PANEL_ROWS + lane;
  if (section->bits == 4) {
    weft_nibbles nibbles;
    weft_quantize_nibbles(&nibbles, values[0], WEFT_SEGMENT_INPUTS, s->length);
    copy_lanes(units, nibbles.units, (int)weft_segment_units(section, segment), lane, rows);
    memcpy((uint16_t*)section->scales + scale, nibbles.scales, (size_t)rows * 2);
    memcpy((uint8_t*)section->zeros + scale, nibbles.zeros, (size_t)rows);
    return;
  }
  for (int r = 0; r < rows; r++) {
    uint8_t q[WEFT_SEGMENT_INPUTS];
    ((float*)section->scales)[scale + r] = weft_quantize_run((int8_t*)q, values[r], s->length);
    for (int i = 0; i < s->length; i++) q[i] ^= 128;
    for (int i = 0; i < s->length; i += 4) {
      memcpy(units + i / 4 * WEFT_UNIT_BYTES + (lane + r) * 4, q + i, 4);
    }
  }
}

static void quantize_task(void* argument, int64_t begin, int64_t end) {
  const quantize_context* c = argument;
  const weft_quantized_section* section = c->section;
  const int64_t first_panel = c->first_row / WEFT_PANEL_ROWS;
  for (int64_t i = begin; i < end; i++) {
    const int64_t panel = first_panel + i;
    int64_t row = panel * WEFT_PANEL_ROWS - c->first_row, last = row + WEFT_PANEL_ROWS;
    const int lane = row < 0 ? (int)-row : 0;
    if (row < 0) row = 0;
    if (last > c->rows) last = c->rows;
    uint8_t* units = section->panels + panel * section->units * WEFT_UNIT_BYTES;
    for (int64_t segment = 0; segment < section->num_segments; segment++) {
      pack_segment(c, panel, segment, units, lane, row, (int)(last - row));
      units += weft_segment_units(section, segment) * WEFT_UNIT_BYTES;
    }
  }
  if (c->mapped && c->column_stride == 1) {
    const int64_t row = (first_panel + begin) * WEFT_PANEL_ROWS - c->first_row;
    const int64_t last = (first_panel + end) * WEFT_PANEL_ROWS - c->first_row;
    const int64_t row_bytes = c->row_stride * element_bytes(c->format);
    weft_give_back(c->source + (row < 0 ? 0 : row) * row_bytes,
                   c->source + (last > c->rows ? c->rows : last) * row_bytes);
  }
}

// Bytes that are packed before their pages are given back.
enum { PACK_BYTES = 1024 * 1024 };

// Rows [first_row, first_row + rows) of `section`, whose panels hold zeros: 8 bits with scales of
// f32 and the zero 128, 4 bits with scales of f16 and zeros, segments of at most 32. `mapped`: the
// source is mapped from a file, and not needed any more.
void weft_quantize_rows(weft_pool* pool, const weft_quantized_section* section, int32_t first_row,
                        const void* source, int32_t format, int32_t rows, int32_t row_stride,
                        int32_t column_stride, int32_t mapped) {
  if (rows == 0) return;
  quantize_context context = {section,    source,        first_row, rows,
                              row_stride, column_stride, format,    mapped};
  const int64_t panels =
      (first_row + rows - 1) / WEFT_PANEL_ROWS - first_row / WEFT_PANEL_ROWS + 1;
  const int64_t panel_bytes = WEFT_PANEL_ROWS * section->units * 32 / section->bits *
                              element_bytes(format);
  weft_pool_run(pool, quantize_task, &context, panels, PACK_BYTES / (panel_bytes + 1) + 1);
}
