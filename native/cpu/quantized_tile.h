// Products of a run of segments of a few panels with tokens: what quantized_linear.c cuts its work
// into.
#ifndef WEFT_QUANTIZED_TILE_H
#define WEFT_QUANTIZED_TILE_H

#include "integer_dot.h"
#include "quantized.h"

// Panels that are computed together, and register tiles of panels by tokens: as many as the set has
// registers for. Tokens that fit in one tile are bound by memory.
#if defined(__AVX512F__)
enum { QUANTIZED_PANELS = 4, QUANTIZED_TOKENS = 6 };
#else
enum { QUANTIZED_PANELS = 2, QUANTIZED_TOKENS = 2 };
#endif
enum { QUANTIZED_FEW_TOKENS = QUANTIZED_TOKENS };

// So few take one panel at a time, which is one stream.
enum { QUANTIZED_STREAM_TOKENS = 2 };

// How far ahead of what few tokens read memory is asked for: bytes of a panel, and segments.
enum { QUANTIZED_PREFETCH = 4096, QUANTIZED_SEGMENTS_AHEAD = 16 };

// Prepared tokens, `stride` bytes apart.
typedef struct {
  char* first;
  int64_t stride;
  int64_t count;
} quantized_tokens;

// Segments [begin, end) of one block, which take `units` units of each panel from `unit` on, and
// hold at most WEFT_SEGMENT_INPUTS inputs.
typedef struct {
  const weft_quantized_section* section;
  int64_t begin;
  int64_t end;
  int64_t unit;
  int64_t units;
  const int64_t* panels;
  int count;
  int64_t ahead;  // bytes from a unit to its place in the run after this one, for reading ahead
} quantized_run;

// All inputs of a few panels with up to QUANTIZED_FEW_TOKENS tokens. The sums of token t and panel
// p go to sums[t * count + p]; behind them is room for as many on each level of the tree.
typedef struct {
  f32x16* sums;
  const weft_quantized_section* section;
  const int64_t* panels;
  int count;
  quantized_tokens tokens;
} quantized_stream;

static inline const uint8_t* quantized_units(const quantized_run* run, int panel) {
  const weft_quantized_section* section = run->section;
  return section->panels + (run->panels[panel] * section->units + run->unit) * WEFT_UNIT_BYTES;
}

static inline f32x16 quantized_scales(const weft_quantized_section* section, int64_t panel,
                                      int64_t segment) {
  const int64_t at = (panel * section->num_segments + segment) * WEFT_PANEL_ROWS;
  return f32x16_load_as(section->scales, at, (int)section->scale_format);
}

// sums + integers, scaled by the panel's scales and the token's.
static inline f32x16 quantized_add(f32x16 sums, i32x16 integers, f32x16 scales, float token_scale) {
  return f32x16_fma(f32x16_mul(f32x16_set1(token_scale), scales), i32x16_to_f32(integers), sums);
}

// Zeros of a panel, -zero * sum of which is where a sum begins.
static inline i32x16 quantized_zeros(const weft_quantized_section* section, int64_t panel,
                                     int64_t segment) {
  if (section->zeros == NULL) return i32x16_set1((int32_t)section->zero);
  const int64_t at = (panel * section->num_segments + segment) * WEFT_PANEL_ROWS;
  return section->bits == 4 ? i32x16_load_u8((const uint8_t*)section->zeros + at)
                            : i32x16_load_i16((const int16_t*)section->zeros + at);
}

// Adds the products of the run's panels, which begin at quads[p] as bytes, by matrix tiles (amx.h).
void weft_matrix_tiles(f32x16* sums, const quantized_run* run, const uint8_t* const* quads,
                       quantized_tokens tokens);

// Adds the run's products to sums[token * run.count + panel], with the tokens' bytes.
void weft_integer_run(f32x16* sums, quantized_run run, quantized_tokens tokens);

// Writes the sums of a stream, with the tokens' bytes.
void weft_integer_stream(const quantized_stream* stream);

// The same as weft_integer_run with the tokens' f32.
void weft_exact_run(f32x16* sums, quantized_run run, quantized_tokens tokens);

#endif
