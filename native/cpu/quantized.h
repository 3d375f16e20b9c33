// Weights of 8 or 4 bits.
//
// Inputs are cut into segments: runs of at most 256 that lie in one block of the sum and in one
// group of the checkpoint. A weight is (q - zero) * scale with unsigned q, and a zero and a scale
// for each output and segment.
//
// Sixteen outputs make a panel, which holds the segments' units of 64 bytes: a unit has, for output
// o, in bytes 4 o to 4 o + 3 the four inputs of a quad (8 bits), or those of two quads in the low
// and in the high nibbles (4 bits). Rows past the last, and inputs past the end of a segment, hold
// zeros.
#ifndef WEFT_QUANTIZED_H
#define WEFT_QUANTIZED_H

#include <stdint.h>
#include <string.h>

// Sums of so many products of bytes are exact in f32.
enum { WEFT_SEGMENT_INPUTS = 256 };

enum { WEFT_UNIT_BYTES = 64, WEFT_PANEL_ROWS = 16 };

// Units of a segment are read in tiles of up to 16 quads: so much may be read past the last panel.
enum { WEFT_PANEL_SLACK = 1024 };

typedef struct {
  int32_t first;       // position of its first input
  int32_t length;      // inputs
  int32_t place;       // of its first input in a token's bytes: a multiple of tile_inputs
  int32_t ends_block;  // 1 where a block of the sum ends with it
} weft_quantized_segment;

// Outputs whose inputs are ordered and cut alike. Pointers take 8 bytes here on every machine, as
// those who fill the structures from outside write them.
typedef struct {
  _Alignas(8) uint8_t* panels;       // [ceil(rows / 16)][units][64]
  _Alignas(8) void* scales;          // [ceil(rows / 16)][num_segments][16], of scale_format
  _Alignas(8) void* zeros;           // the same shape, int16 or uint8 by width; NULL: `zero`
  _Alignas(8) const int32_t* order;  // the input at each position; NULL: as they come
  _Alignas(8) const weft_quantized_segment* segments;
  int64_t num_segments;
  int64_t rows;
  int64_t blocks;        // of the sum
  int64_t units;         // of a panel
  int64_t tile_inputs;   // inputs of a matrix tile: a multiple of 4, at most 64
  int64_t places;        // a token's bytes: whole tiles for each segment
  int64_t token_offset;  // of the section in a prepared token, in bytes
  int64_t bits;
  int64_t scale_format;  // WEFT_F32, WEFT_F16 or WEFT_BF16
  int64_t zero;
} weft_quantized_section;

// What a weft_weight of kind WEFT_QUANTIZED packs: sections, one below the other.
typedef struct {
  const weft_quantized_section* sections;
  int64_t num_sections;
  int64_t exact;  // 1: activations stay f32, weights are widened
} weft_quantized;

static inline int64_t weft_unit_count(int64_t inputs, int64_t bits) {
  return (inputs + 32 / bits - 1) / (32 / bits);
}

static inline int64_t weft_segment_units(const weft_quantized_section* section, int64_t segment) {
  return weft_unit_count(section->segments[segment].length, section->bits);
}

static inline int64_t weft_section_panels(const weft_quantized_section* section) {
  return (section->rows + WEFT_PANEL_ROWS - 1) / WEFT_PANEL_ROWS;
}

// out[i] = x[i] / scale, rounded to the nearest integer, ties to even; the largest magnitude
// becomes 127. Returns the scale: 0 where all are (nearly) zero, NaN where one is not finite; out
// is zero then. Writes whole sixteens: out and x have room for them, and x holds zeros past
// `count`.
float weft_quantize_run(int8_t* out, const float* x, int64_t count);

// Segments of weights that are made 4 bits wide.
enum { WEFT_NIBBLE_INPUTS = 32 };

// A segment of a panel: its units, and the outputs' scales (f16) and zeros.
typedef struct {
  uint8_t units[WEFT_NIBBLE_INPUTS / 8 * WEFT_UNIT_BYTES];
  uint16_t scales[WEFT_PANEL_ROWS];
  uint8_t zeros[WEFT_PANEL_ROWS];
} weft_nibbles;

// Quantises `length` inputs, at most 32, of the sixteen outputs at values[output * stride + input].
// The scale of an output with what is not finite is NaN.
void weft_quantize_nibbles(weft_nibbles* out, const float* values, int64_t stride, int length);

#endif
