// Products with few tokens, which are bound by how fast weights are read: all of a panel's inputs
// at once, as they come, with the tokens' sums in registers. See quantized_linear.c.
#include "integer_dot.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { STREAM_TILE = 2 * QUANTIZED_TOKENS };

// Panels that are read beside each other, so that an input is loaded once for all of them.
ALWAYS_INLINE int stream_panels(const int num_tokens) {
  return num_tokens <= 2 ? 1 : STREAM_TILE / QUANTIZED_TOKENS;
}

// Asks for what is read later on. Bytes go to the second-level cache; nibbles, of which a line has
// twice as much to do, on to the first.
ALWAYS_INLINE void prefetch_units(const uint8_t* at, const int bits) {
  if (bits == 4) {
    __builtin_prefetch(at + QUANTIZED_PREFETCH, 0, 3);
  } else {
    __builtin_prefetch(at + QUANTIZED_PREFETCH, 0, 2);
  }
}

// The scales and zeros of nibbles' short segments are streams of their own.
ALWAYS_INLINE void prefetch_scales(const weft_quantized_section* section, int64_t panel,
                                   int64_t segment) {
  const int64_t ahead = segment + QUANTIZED_SEGMENTS_AHEAD;
  const int64_t at = (panel * section->num_segments + ahead) * WEFT_PANEL_ROWS;
  __builtin_prefetch((const uint16_t*)section->scales + at, 0, 3);
  if (section->zeros != NULL) __builtin_prefetch((const uint8_t*)section->zeros + at, 0, 3);
}

// One panel's integers for one token, which a set may hold in parts.
ALWAYS_INLINE i32x16 dot_segment(i32x16 start, const uint8_t* units, int64_t count,
                                 const int8_t* values, const int bits) {
  if (bits == 8) {
    _Pragma("GCC unroll 4") for (int64_t u = 0; u < count; u++) {
      const uint8_t* at = units + u * WEFT_UNIT_BYTES;
      prefetch_units(at, bits);
      start = i32x16_dot_at(start, weight_quad_8(at), values + 4 * u, 8);
    }
    return start;
  }
  nibble_sums sums = nibble_sums_start(start);
  _Pragma("GCC unroll 4") for (int64_t u = 0; u < count; u++) {
    const uint8_t* at = units + u * WEFT_UNIT_BYTES;
    prefetch_units(at, bits);
    nibble_sums_dot(&sums, at, values + 8 * u);
  }
  return nibble_sums_total(sums);
}

// sums[t * num_panels + p] of several panels or tokens.
ALWAYS_INLINE void dot_segments(i32x16* sums, const uint8_t* const* units, int64_t unit,
                                int64_t count, const int8_t* values, int64_t stride, const int bits,
                                const int num_panels, const int num_tokens) {
  const int quads = bits == 4 ? 2 : 1;
  for (int64_t u = unit; u < unit + count; u++, values += 4 * quads) {
    weight_quad w[STREAM_TILE][2];
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const uint8_t* at = units[p] + u * WEFT_UNIT_BYTES;
      prefetch_units(at, bits);
      if (bits == 4) {
        weight_quads_4(w[p], at);
      } else {
        w[p][0] = weight_quad_8(at);
      }
    }
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      WEFT_UNROLL
      for (int q = 0; q < quads; q++) {
        const input_quad x = input_quad_load(values + t * stride + 4 * q);
        WEFT_UNROLL
        for (int p = 0; p < num_panels; p++) {
          i32x16* sum = &sums[t * num_panels + p];
          *sum = i32x16_dot(*sum, w[p][q], x, bits);
        }
      }
    }
  }
}

// Adds the sums of block `block` to those before by the tree (quantized_linear.c): level l holds
// the sum of 2^l neighbours.
ALWAYS_INLINE void merge(f32x16* total, const quantized_stream* stream, int panel, int64_t block,
                         int last, const int num_panels, const int num_tokens) {
  const int64_t size = stream->tokens.count * stream->count;
  f32x16* level = stream->sums + size + panel;
  for (int64_t rest = block; last ? rest != 0 : rest & 1; rest >>= 1, level += size) {
    if (!(rest & 1)) continue;
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      WEFT_UNROLL
      for (int p = 0; p < num_panels; p++) {
        f32x16* sum = &total[t * num_panels + p];
        *sum = f32x16_add(level[t * stream->count + p], *sum);
      }
    }
  }
  if (last) return;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      level[t * stream->count + p] = total[t * num_panels + p];
      total[t * num_panels + p] = f32x16_zero();
    }
  }
}

// Panels [panel, panel + num_panels) of the stream.
ALWAYS_INLINE void add_panels(const quantized_stream* stream, int panel, const int bits,
                              const int num_panels, const int num_tokens) {
  const weft_quantized_section* section = stream->section;
  const quantized_token first = quantized_token_at(stream->tokens.first, section);
  const int64_t stride = stream->tokens.stride;
  const int64_t* panels = stream->panels + panel;
  const uint8_t* units[STREAM_TILE];
  f32x16 total[STREAM_TILE];
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) {
    units[p] = section->panels + panels[p] * section->units * WEFT_UNIT_BYTES;
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) total[t * num_panels + p] = f32x16_zero();
  }
  int64_t unit = 0, block = 0;
  for (int64_t segment = 0; segment < section->num_segments; segment++) {
    const weft_quantized_segment s = section->segments[segment];
    const int64_t count = weft_unit_count(s.length, bits);
    WEFT_UNROLL
    for (int p = 0; p < num_panels && bits == 4; p++) prefetch_scales(section, panels[p], segment);
    i32x16 integers[STREAM_TILE];
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const i32x16 zeros = quantized_zeros(section, panels[p], segment);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        const int32_t* sum = (const int32_t*)((const char*)first.sums + t * stride);
        integers[t * num_panels + p] = i32x16_start(zeros, sum[segment], bits);
      }
    }
    if (num_panels * num_tokens == 1) {
      integers[0] = dot_segment(integers[0], units[0] + unit * WEFT_UNIT_BYTES, count,
                                first.values + s.place, bits);
    } else {
      dot_segments(integers, units, unit, count, first.values + s.place, stride, bits, num_panels,
                   num_tokens);
    }
    unit += count;
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const f32x16 scales = quantized_scales(section, panels[p], segment);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        const float* scale = (const float*)((const char*)first.scales + t * stride);
        f32x16* sum = &total[t * num_panels + p];
        *sum = quantized_add(*sum, integers[t * num_panels + p], scales, scale[segment]);
      }
    }
    if (s.ends_block) {
      merge(total, stream, panel, block++, segment + 1 == section->num_segments, num_panels,
            num_tokens);
    }
  }
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) {
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      stream->sums[t * stream->count + panel + p] = total[t * num_panels + p];
    }
  }
}

ALWAYS_INLINE void add_all(const quantized_stream* stream, const int bits, const int num_tokens) {
  const int together = stream_panels(num_tokens);
  for (int p = 0; p < stream->count; p += together) {
    add_panels(stream, p, bits, together, num_tokens);
  }
}

ALWAYS_INLINE void add_tokens(const quantized_stream* stream, const int bits) {
  switch (stream->tokens.count) {
    case 1: add_all(stream, bits, 1); break;
    case 2: add_all(stream, bits, 2); break;
#if defined(__AVX512F__)
    case 3: add_all(stream, bits, 3); break;
    case 4: add_all(stream, bits, 4); break;
    case 5: add_all(stream, bits, 5); break;
    case 6: add_all(stream, bits, 6); break;
#endif
  }
}

void weft_integer_stream(const quantized_stream* stream) {
  if (stream->section->bits == 4) {
    add_tokens(stream, 4);
  } else {
    add_tokens(stream, 8);
  }
}
