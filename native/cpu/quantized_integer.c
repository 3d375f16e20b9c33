// Sums of products of bytes: see quantized_linear.c.
#include "amx.h"
#include "integer_dot.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { HELD_SUMS = 2 * QUANTIZED_TOKENS };

// Segments [begin, end) of num_panels panels with num_tokens tokens. A panel's weights begin at
// units[p], `bits` bits each, which come as `stored` ones; sums[t * stride + p] is that of panel p
// and token t.
ALWAYS_INLINE void add_segments(f32x16* sums, const quantized_run* run, const int64_t* panels,
                                const uint8_t* const* units, quantized_tokens tokens,
                                const int bits, const int stored, const int prefetch,
                                const int num_panels, const int num_tokens) {
  const weft_quantized_section* section = run->section;
  const int stride = run->count;
  const int quads = stored == 4 ? 2 : 1;
  const quantized_token first = quantized_token_at(tokens.first, section);
  // Where there are registers for them, sums stay there from segment to segment.
  const int holds = num_panels * num_tokens <= HELD_SUMS;
  f32x16 held[HELD_SUMS];
  f32x16* total = holds ? held : sums;
  const int total_stride = holds ? num_panels : stride;
  WEFT_UNROLL
  for (int p = 0; p < num_panels && holds; p++) {
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) total[t * total_stride + p] = sums[t * stride + p];
  }
  int64_t unit = 0;
  for (int64_t segment = run->begin; segment < run->end; segment++) {
    i32x16 integers[QUANTIZED_PANELS * QUANTIZED_TOKENS];
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const i32x16 zeros = quantized_zeros(section, panels[p], segment);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        const int32_t* sum = (const int32_t*)((const char*)first.sums + t * tokens.stride);
        integers[t * num_panels + p] = i32x16_start(zeros, sum[segment], bits);
      }
    }
    const int8_t* values = first.values + section->segments[segment].place;
    const int64_t end =
        unit + weft_unit_count(section->segments[segment].length, bits) * (stored / bits);
    for (; unit < end; unit++) {
      weight_quad w[QUANTIZED_PANELS][2];
      WEFT_UNROLL
      for (int p = 0; p < num_panels; p++) {
        const uint8_t* at = units[p] + unit * WEFT_UNIT_BYTES;
        if (prefetch) __builtin_prefetch(at + prefetch, 0, 2);
        if (stored == 4) {
          weight_quads_4(w[p], at);
        } else {
          w[p][0] = weight_quad_8(at);
        }
      }
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        WEFT_UNROLL
        for (int q = 0; q < quads; q++) {
          const input_quad x = input_quad_load(values + t * tokens.stride + 4 * q);
          WEFT_UNROLL
          for (int p = 0; p < num_panels; p++) {
            i32x16* sum = &integers[t * num_panels + p];
            *sum = i32x16_dot(*sum, w[p][q], x, bits);
          }
        }
      }
      values += 4 * quads;
    }
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const f32x16 scales = quantized_scales(section, panels[p], segment);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        const float* scale = (const float*)((const char*)first.scales + t * tokens.stride);
        f32x16* sum = &total[t * total_stride + p];
        *sum = quantized_add(*sum, integers[t * num_panels + p], scales, scale[segment]);
      }
    }
  }
  WEFT_UNROLL
  for (int p = 0; p < num_panels && holds; p++) {
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) sums[t * stride + p] = total[t * total_stride + p];
  }
}

// Panels of a register tile: nibbles' segments are short, so that their sums lie in registers as
// well.
ALWAYS_INLINE int tile_panels(const int bits) { return bits == 4 ? 2 : QUANTIZED_PANELS; }

// All panels of the run with as many tokens as one tile takes.
ALWAYS_INLINE void add_panels(f32x16* sums, const quantized_run* run, const uint8_t* const* units,
                              quantized_tokens tokens, const int bits, const int stored,
                              const int prefetch, const int num_panels, const int num_tokens) {
  for (int p = 0; p < run->count; p += num_panels) {
    add_segments(sums + p, run, run->panels + p, units + p, tokens, bits, stored, prefetch,
                 num_panels, num_tokens);
  }
}

// Few tokens: weights are read once, as they come.
ALWAYS_INLINE void stream_panels(f32x16* sums, const quantized_run* run, quantized_tokens tokens,
                                 const int bits) {
  const uint8_t* units[QUANTIZED_PANELS];
  for (int p = 0; p < run->count; p++) units[p] = quantized_units(run, p);
  const int ahead = QUANTIZED_PREFETCH;
  switch (tokens.count) {
    case 1: add_panels(sums, run, units, tokens, bits, bits, ahead, 1, 1); break;
    case 2: add_panels(sums, run, units, tokens, bits, bits, ahead, 1, 2); break;
#if defined(__AVX512F__)
    case 3: add_panels(sums, run, units, tokens, bits, bits, ahead, tile_panels(bits), 3); break;
    case 4: add_panels(sums, run, units, tokens, bits, bits, ahead, tile_panels(bits), 4); break;
    case 5: add_panels(sums, run, units, tokens, bits, bits, ahead, tile_panels(bits), 5); break;
    case 6: add_panels(sums, run, units, tokens, bits, bits, ahead, tile_panels(bits), 6); break;
#endif
  }
}

ALWAYS_INLINE void register_tiles(f32x16* sums, const quantized_run* run,
                                  const uint8_t* const* quads, quantized_tokens tokens,
                                  const int bits) {
  const int panels = tile_panels(bits);
  while (tokens.count > 0) {
    switch (tokens.count) {
      case 1: add_panels(sums, run, quads, tokens, bits, 8, 0, panels, 1); break;
#if defined(__AVX512F__)
      case 2: add_panels(sums, run, quads, tokens, bits, 8, 0, panels, 2); break;
      case 3: add_panels(sums, run, quads, tokens, bits, 8, 0, panels, 3); break;
      case 4: add_panels(sums, run, quads, tokens, bits, 8, 0, panels, 4); break;
      case 5: add_panels(sums, run, quads, tokens, bits, 8, 0, panels, 5); break;
#endif
      default:
        add_panels(sums, run, quads, tokens, bits, 8, 0, panels, QUANTIZED_TOKENS);
    }
    sums += QUANTIZED_TOKENS * run->count;
    tokens.first += QUANTIZED_TOKENS * tokens.stride;
    tokens.count -= QUANTIZED_TOKENS;
  }
}

void weft_integer_run(f32x16* sums, quantized_run run, quantized_tokens tokens) {
  const weft_quantized_section* section = run.section;
  if (tokens.count <= QUANTIZED_FEW_TOKENS) {
    if (section->bits == 4) {
      stream_panels(sums, &run, tokens, 4);
    } else {
      stream_panels(sums, &run, tokens, 8);
    }
    return;
  }
  // Nibbles are unpacked once for all tokens. A matrix tile may read past the last segment.
  enum { UNPACKED = WEFT_SEGMENT_INPUTS * WEFT_PANEL_ROWS + WEFT_PANEL_SLACK };
  _Alignas(64) uint8_t unpacked[QUANTIZED_PANELS][UNPACKED];
  const uint8_t* quads[QUANTIZED_PANELS];
  for (int p = 0; p < run.count; p++) {
    quads[p] = quantized_units(&run, p);
    if (section->bits == 8) continue;
    for (int64_t u = 0; u < run.units; u++) {
      weight_quad both[2];
      weight_quads_4(both, quads[p] + u * WEFT_UNIT_BYTES);
      weight_quad_store(unpacked[p] + 2 * u * WEFT_UNIT_BYTES, both[0]);
      weight_quad_store(unpacked[p] + (2 * u + 1) * WEFT_UNIT_BYTES, both[1]);
    }
    quads[p] = unpacked[p];
  }
#ifdef WEFT_AMX
  weft_matrix_tiles(sums, &run, quads, tokens);
#else
  if (section->bits == 4) {
    register_tiles(sums, &run, quads, tokens, 4);
  } else {
    register_tiles(sums, &run, quads, tokens, 8);
  }
#endif
}
