// Copies weights that a checkpoint holds as integers into panels, once, while they are loaded.
#include "mapped_pages.h"
#include "pool.h"
#include "quantized.h"
#include "simd.h"

enum { PACKING_AWQ = 0, PACKING_GPTQ = 1, PACKING_SIGNED = 2 };

// A slice of a stored weight [rows, columns]; QuantizedMatrix of src/tensor/linear_kernels.ts says
// how it is packed. Fields are those of src/tensor/cpu/quantized_weight.ts.
typedef struct {
  int64_t packing;
  const void* values;  // a pointer takes 8 bytes, as in quantized.h
  _Alignas(8) const void* scales;  // [groups][stored_rows]
  int64_t scale_format;
  const void* zeros;        // or NULL: half of the range, 0 where signed
  int64_t zero_offset;
  const int32_t* groups;    // of each segment
  int64_t stored_rows;
  int64_t stored_columns;
  int64_t row;              // of the stored weight: the slice's first
  int64_t rows;
  int64_t column;           // of the stored weight: the slice's first
  int64_t columns;
  int64_t first_row;        // in the section
  int64_t mapped;           // values lie in a mapped file, and are not needed any more
} weft_quantized_source;

typedef struct {
  const weft_quantized_section* section;
  const weft_quantized_source* source;
} import_context;

// The place of output j among the eight of a word.
static int awq_place(int64_t j) { return (int)(j % 2 * 4 + j / 2); }

// q[r] = element [row + r, column] of the stored weight, unsigned.
static void read_column(uint32_t q[16], const weft_quantized_source* s, int64_t bits, int64_t row,
                        int rows, int64_t column) {
  const uint32_t* words = s->values;
  const int64_t per_word = 32 / bits;
  const uint32_t mask = (1u << bits) - 1;
  if (s->packing == PACKING_GPTQ) {
    words += column / per_word * s->stored_rows + row;
    const int shift = (int)(column % per_word * bits);
    for (int r = 0; r < rows; r++) q[r] = words[r] >> shift & mask;
  } else if (s->packing == PACKING_AWQ) {
    words += column * (s->stored_rows / 8);
    for (int r = 0; r < rows; r++) {
      q[r] = words[(row + r) / 8] >> 4 * awq_place((row + r) % 8) & mask;
    }
  } else {
    const int8_t* values = (const int8_t*)s->values + row * s->stored_columns + column;
    for (int r = 0; r < rows; r++) q[r] = (uint32_t)(values[r * s->stored_columns] + 128);
  }
}

static int read_zero(const weft_quantized_source* s, int64_t bits, int64_t group, int64_t row) {
  if (s->zeros == NULL) return 1 << (bits - 1);
  const int64_t per_word = 32 / bits;
  const uint32_t word =
      ((const uint32_t*)s->zeros)[group * (s->stored_rows / per_word) + row / per_word];
  const int64_t place = row % per_word;
  const int shift = (int)bits * (s->packing == PACKING_AWQ ? awq_place(place) : (int)place);
  return (int)(word >> shift & ((1u << bits) - 1)) + (int)s->zero_offset;
}

static void store_scale(void* scales, int64_t at, float scale, int64_t format) {
  const f32x16 value = f32x16_set1(scale);
  switch (format) {
    case WEFT_F16: f32x16_store_f16_n((uint16_t*)scales + at, value, 1); break;
    case WEFT_BF16: f32x16_store_bf16_n((uint16_t*)scales + at, value, 1); break;
    default: ((float*)scales)[at] = scale;
  }
}

// Scales and zeros of one segment for rows of the slice that begin at `lane` of a panel.
static void import_scales(const import_context* c, int64_t panel, int64_t segment, int lane,
                          int64_t row, int rows) {
  const weft_quantized_section* section = c->section;
  const weft_quantized_source* s = c->source;
  const int64_t group = s->groups[segment];
  const int64_t first = (panel * section->num_segments + segment) * WEFT_PANEL_ROWS + lane;
  float scales[16];
  f32x16_store(scales, f32x16_load_as_n(s->scales, group * s->stored_rows + s->row + row, rows,
                                        (int)s->scale_format));
  for (int r = 0; r < rows; r++) {
    store_scale(section->scales, first + r, scales[r], section->scale_format);
    if (section->zeros == NULL) continue;
    const int zero = read_zero(s, section->bits, group, s->row + row + r);
    if (section->bits == 8) {
      ((int16_t*)section->zeros)[first + r] = (int16_t)zero;
    } else {
      ((uint8_t*)section->zeros)[first + r] = (uint8_t)zero;
    }
  }
}

static void import_values(const import_context* c, uint8_t* units, int64_t segment, int lane,
                          int64_t row, int rows) {
  const weft_quantized_section* section = c->section;
  const weft_quantized_source* s = c->source;
  const weft_quantized_segment at = section->segments[segment];
  const int inputs = (int)(32 / section->bits);
  for (int i = 0; i < at.length; i += inputs, units += WEFT_UNIT_BYTES) {
    uint32_t quads[16] = {0};
    const int count = at.length - i < inputs ? at.length - i : inputs;
    for (int k = 0; k < count; k++) {
      const int64_t position = at.first + i + k;
      const int64_t input = section->order == NULL ? position : section->order[position];
      uint32_t q[16];
      read_column(q, s, section->bits, s->row + row, rows, s->column + input);
      // Bytes of a quad in order, the second quad in the high nibbles.
      const int shift = k % 4 * 8 + k / 4 * 4;
      for (int r = 0; r < rows; r++) quads[r] |= q[r] << shift;
    }
    memcpy(units + lane * 4, quads, (size_t)rows * 4);
  }
}

static void import_task(void* argument, int64_t begin, int64_t end) {
  const import_context* c = argument;
  const weft_quantized_section* section = c->section;
  const int64_t first_row = c->source->first_row, all = c->source->rows;
  for (int64_t i = begin; i < end; i++) {
    const int64_t panel = first_row / WEFT_PANEL_ROWS + i;
    int64_t row = panel * WEFT_PANEL_ROWS - first_row, last = row + WEFT_PANEL_ROWS;
    const int lane = row < 0 ? (int)-row : 0;
    if (row < 0) row = 0;
    if (last > all) last = all;
    uint8_t* units = section->panels + panel * section->units * WEFT_UNIT_BYTES;
    for (int64_t segment = 0; segment < section->num_segments; segment++) {
      import_scales(c, panel, segment, lane, row, (int)(last - row));
      import_values(c, units, segment, lane, row, (int)(last - row));
      units += weft_segment_units(section, segment) * WEFT_UNIT_BYTES;
    }
  }
}

// Pages that hold nothing but the slice's inputs (of words that hold outputs or inputs of a column)
// or the slice's outputs (of rows of bytes).
static void give_back_values(const weft_quantized_source* s, int64_t bits) {
  const char* values = s->values;
  const int64_t row_bytes = s->packing == PACKING_AWQ ? s->stored_rows / 8 * 4 : s->stored_rows * 4;
  switch (s->packing) {
    case PACKING_AWQ:
      weft_give_back(values + s->column * row_bytes, values + (s->column + s->columns) * row_bytes);
      break;
    case PACKING_GPTQ:
      weft_give_back(values + s->column * bits / 32 * row_bytes,
                     values + (s->column + s->columns) * bits / 32 * row_bytes);
      break;
    default:
      weft_give_back(values + s->row * s->stored_columns,
                     values + (s->row + s->rows) * s->stored_columns);
  }
}

// Rows of `section`, whose panels hold zeros, from a slice of a stored weight of the same width.
void weft_import_rows(weft_pool* pool, const weft_quantized_section* section,
                      const weft_quantized_source* source) {
  if (source->rows == 0) return;
  import_context context = {section, source};
  const int64_t panels = (source->first_row + source->rows - 1) / WEFT_PANEL_ROWS -
                         source->first_row / WEFT_PANEL_ROWS + 1;
  weft_pool_run(pool, import_task, &context, panels, 4);
  if (source->mapped) give_back_values(source, section->bits);
}
