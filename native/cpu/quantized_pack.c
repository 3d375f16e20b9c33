// Quantises dense rows into panels, once, while a weight is loaded. 8 bits: symmetric, the largest
// magnitude of a segment becomes 127. 4 bits: with zeros, which halves the error of outliers on one
// side; the range may be a little narrower than the weights', where that makes the sum of squared
// errors less.
#include <math.h>

#include "integer_dot.h"
#include "mapped_pages.h"
#include "pool.h"
#include "quantized.h"

enum { NIBBLE_INPUTS = 32, NIBBLE_MAX = 15 };

// Parts of the range that are tried.
static const float RANGES[] = {1.0f, 0.95f, 0.9f, 0.85f};

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

// values[r][i] = element [row + r, first + i], and zeros up to a whole vector.
static void read_rows(float values[16][WEFT_SEGMENT_INPUTS], const quantize_context* c, int64_t row,
                      int rows, const weft_quantized_segment* s) {
  const int padded = (s->length + 15) / 16 * 16;
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

// A range of at most 32 weights [low, high] in 16 steps.
typedef struct {
  float scale;  // exact in f16
  float zero;
} nibble_range;

static nibble_range range_of(float low, float high) {
  uint16_t half;
  f32x16_store_f16_n(&half, f32x16_set1((high - low) / NIBBLE_MAX), 1);
  nibble_range range = {0, 0};
  f32x16_store_n(&range.scale, f32x16_load_f16_n(&half, 1), 1);
  if (range.scale > 0) {
    f32x16_store_n(&range.zero, f32x16_round(f32x16_set1(-low / range.scale)), 1);
  }
  return range;
}

static f32x16 nearest(f32x16 values, nibble_range range) {
  const f32x16 steps = f32x16_round(f32x16_mul(values, f32x16_set1(1 / range.scale)));
  const f32x16 q = f32x16_add(steps, f32x16_set1(range.zero));
  return f32x16_max(f32x16_zero(), f32x16_min(f32x16_set1(NIBBLE_MAX), q));
}

static float squared_error(const float* x, nibble_range range) {
  f32x16 sum = f32x16_zero();
  for (int i = 0; i < NIBBLE_INPUTS; i += 16) {
    const f32x16 values = f32x16_load(x + i);
    const f32x16 steps = f32x16_sub(nearest(values, range), f32x16_set1(range.zero));
    const f32x16 error = f32x16_fnma(steps, f32x16_set1(range.scale), values);
    sum = f32x16_fma(error, error, sum);
  }
  return f32x16_sum(sum);
}

// q[i] = x[i] / scale + zero, for 32 weights, some of which may be padding.
static nibble_range quantize_nibbles(uint8_t* q, const float* x) {
  f32x16 low = f32x16_zero(), high = f32x16_zero();
  uint32_t numbers = 0xffff;
  for (int i = 0; i < NIBBLE_INPUTS; i += 16) {
    const f32x16 values = f32x16_load(x + i);
    numbers &= mask16_bits(f32x16_eq(values, values));
    low = f32x16_max(f32x16_neg(values), low);
    high = f32x16_max(values, high);
  }
  memset(q, 0, NIBBLE_INPUTS);
  if (numbers != 0xffff) return (nibble_range){NAN, 0};
  const float least = -f32x16_hmax(low), greatest = f32x16_hmax(high);
  nibble_range best = range_of(least, greatest);
  // All (nearly) zero, or infinite: a product will be NaN.
  if (!(best.scale > 0 && best.scale < 65536)) return best;
  float best_error = squared_error(x, best);
  for (int i = 1; i < (int)(sizeof RANGES / sizeof RANGES[0]); i++) {
    const nibble_range range = range_of(least * RANGES[i], greatest * RANGES[i]);
    if (!(range.scale > 0)) break;
    const float error = squared_error(x, range);
    if (error < best_error) {
      best = range;
      best_error = error;
    }
  }
  for (int i = 0; i < NIBBLE_INPUTS; i += 16) {
    f32x16_store_i8((int8_t*)q + i, nearest(f32x16_load(x + i), best));
  }
  return best;
}

// One segment of rows [row, row + rows), which begin at `lane` of a panel. `quads`: the segment's.
static void pack_segment(const quantize_context* c, int64_t panel, int64_t segment, uint8_t* units,
                         int lane, int64_t row, int rows) {
  const weft_quantized_section* section = c->section;
  const weft_quantized_segment* s = &section->segments[segment];
  float values[16][WEFT_SEGMENT_INPUTS] = {0};
  read_rows(values, c, row, rows, s);
  const int64_t scale = (panel * section->num_segments + segment) * WEFT_PANEL_ROWS + lane;
  for (int r = 0; r < rows; r++) {
    uint8_t q[WEFT_SEGMENT_INPUTS];
    if (section->bits == 8) {
      ((float*)section->scales)[scale + r] = weft_quantize_run((int8_t*)q, values[r], s->length);
      for (int i = 0; i < s->length; i++) q[i] ^= 128;
    } else {
      const nibble_range range = quantize_nibbles(q, values[r]);
      f32x16_store_f16_n((uint16_t*)section->scales + scale + r, f32x16_set1(range.scale), 1);
      ((uint8_t*)section->zeros)[scale + r] = (uint8_t)range.zero;
    }
    weft_store_lane(units, lane + r, q, s->length, section->bits);
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
    if (c->mapped && c->column_stride == 1) {
      const int64_t row_bytes = c->row_stride * (c->format == WEFT_F32 ? 4 : 2);
      weft_give_back(c->source + row * row_bytes, c->source + last * row_bytes);
    }
  }
}

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
  weft_pool_run(pool, quantize_task, &context, panels, 4);
}
