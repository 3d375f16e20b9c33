// Sums of products of bytes: see quantized_linear.c.
#include "amx.h"
#include "integer_dot.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// What a tile of tokens has of a segment.
typedef struct {
  const int8_t* values[QUANTIZED_TOKENS];
  float scales[QUANTIZED_TOKENS];
  int32_t sums[QUANTIZED_TOKENS];
} tile_tokens;

ALWAYS_INLINE tile_tokens tokens_of(const weft_quantized_section* section, quantized_tokens tokens,
                                    int64_t segment, const int num_tokens) {
  tile_tokens tile;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    const quantized_token token = quantized_token_at(tokens.first + t * tokens.stride, section);
    tile.values[t] = token.values + section->segments[segment].place;
    tile.scales[t] = token.scales[segment];
    tile.sums[t] = token.sums[segment];
  }
  return tile;
}

// One segment: `units` units of 64 bytes of each panel, of `bits` bits, which come as `stored` ones.
// sums[t * stride + p] is panel p, token t.
ALWAYS_INLINE void add_segment(f32x16* sums, const weft_quantized_section* section, int64_t segment,
                               const int64_t* panels, const uint8_t* const* units, int64_t count,
                               const tile_tokens* tokens, const int stride, const int bits,
                               const int stored, const int prefetch, const int num_panels,
                               const int num_tokens) {
  i32x16 integers[QUANTIZED_PANELS * QUANTIZED_TOKENS];
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) {
    const i32x16 zeros = quantized_zeros(section, panels[p], segment);
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      integers[t * num_panels + p] = i32x16_start(zeros, tokens->sums[t], bits);
    }
  }
  const int quads = stored == 4 ? 2 : 1;
  for (int64_t u = 0; u < count; u++) {
    weight_quad w[QUANTIZED_PANELS][2];
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const uint8_t* unit = units[p] + u * WEFT_UNIT_BYTES;
      if (prefetch) __builtin_prefetch(unit + prefetch, 0, 2);
      if (stored == 4) {
        weight_quads_4(w[p], unit);
      } else {
        w[p][0] = weight_quad_8(unit);
      }
    }
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      WEFT_UNROLL
      for (int q = 0; q < quads; q++) {
        const input_quad x = input_quad_load(tokens->values[t] + (u * quads + q) * 4);
        WEFT_UNROLL
        for (int p = 0; p < num_panels; p++) {
          i32x16* sum = &integers[t * num_panels + p];
          *sum = i32x16_dot(*sum, w[p][q], x, bits);
        }
      }
    }
  }
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) {
    const f32x16 scales = quantized_scales(section, panels[p], segment);
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      f32x16* sum = &sums[t * stride + p];
      *sum = quantized_add(*sum, integers[t * num_panels + p], scales, tokens->scales[t]);
    }
  }
}

// One panel with one or two tokens: read once, as one stream, sums in registers.
ALWAYS_INLINE void stream_panel(f32x16* sums, const quantized_run* run, quantized_tokens tokens,
                                int panel, const int bits, const int num_tokens) {
  const weft_quantized_section* section = run->section;
  const uint8_t* units = quantized_units(run, panel);
  f32x16 local[QUANTIZED_FEW_TOKENS];
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) local[t] = sums[t * run->count + panel];
  for (int64_t segment = run->begin; segment < run->end; segment++) {
    const int64_t count = (section->segments[segment].length + 32 / bits - 1) / (32 / bits);
    const tile_tokens tile = tokens_of(section, tokens, segment, num_tokens);
    add_segment(local, section, segment, &run->panels[panel], &units, count, &tile, 1, bits, bits,
                QUANTIZED_PREFETCH, 1, num_tokens);
    units += count * WEFT_UNIT_BYTES;
  }
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) sums[t * run->count + panel] = local[t];
}

static void stream_panels(f32x16* sums, const quantized_run* run, quantized_tokens tokens) {
  for (int p = 0; p < run->count; p++) {
    if (run->section->bits == 4) {
      if (tokens.count == 1) {
        stream_panel(sums, run, tokens, p, 4, 1);
      } else {
        stream_panel(sums, run, tokens, p, 4, 2);
      }
    } else if (tokens.count == 1) {
      stream_panel(sums, run, tokens, p, 8, 1);
    } else {
      stream_panel(sums, run, tokens, p, 8, 2);
    }
  }
}

ALWAYS_INLINE void register_tile(f32x16* sums, const quantized_quads* s, quantized_tokens tokens,
                                 const int bits, const int num_tokens) {
  const quantized_run* run = s->run;
  const tile_tokens tile = tokens_of(run->section, tokens, run->begin, num_tokens);
  for (int p = 0; p + QUANTIZED_PANELS <= run->count; p += QUANTIZED_PANELS) {
    add_segment(sums + p, run->section, run->begin, run->panels + p, s->quads + p, s->count, &tile,
                QUANTIZED_PANELS, bits, 8, 0, QUANTIZED_PANELS, num_tokens);
  }
}

ALWAYS_INLINE void register_tiles(f32x16* sums, const quantized_quads* s, quantized_tokens tokens,
                                  const int bits) {
  while (tokens.count > 0) {
    int64_t taken = QUANTIZED_TOKENS;
    switch (tokens.count) {
      case 1: register_tile(sums, s, tokens, bits, 1); break;
#if defined(__AVX512F__)
      case 2: register_tile(sums, s, tokens, bits, 2); break;
      case 3: register_tile(sums, s, tokens, bits, 3); break;
      case 4: register_tile(sums, s, tokens, bits, 4); break;
      case 5: register_tile(sums, s, tokens, bits, 5); break;
#endif
      default: register_tile(sums, s, tokens, bits, QUANTIZED_TOKENS);
    }
    sums += taken * s->run->count;
    tokens.first += taken * tokens.stride;
    tokens.count -= taken;
  }
}

void weft_integer_run(f32x16* sums, quantized_run run, quantized_tokens tokens) {
  if (tokens.count <= QUANTIZED_FEW_TOKENS) {
    stream_panels(sums, &run, tokens);
    return;
  }
  const weft_quantized_section* section = run.section;
  // Nibbles are unpacked once for all tokens.
  _Alignas(64) uint8_t unpacked[QUANTIZED_PANELS][WEFT_SEGMENT_INPUTS * WEFT_PANEL_ROWS];
  quantized_quads s = {.run = &run, .count = (section->segments[run.begin].length + 3) / 4};
  for (int p = 0; p < run.count; p++) {
    const uint8_t* units = quantized_units(&run, p);
    s.quads[p] = units;
    if (section->bits == 8) continue;
    for (int64_t u = 0; u < weft_segment_units(section, run.begin); u++) {
      weight_quad quads[2];
      weight_quads_4(quads, units + u * WEFT_UNIT_BYTES);
      weight_quad_store(unpacked[p] + 2 * u * WEFT_UNIT_BYTES, quads[0]);
      weight_quad_store(unpacked[p] + (2 * u + 1) * WEFT_UNIT_BYTES, quads[1]);
    }
    s.quads[p] = unpacked[p];
  }
#ifdef WEFT_AMX
  weft_matrix_tiles(sums, &s, tokens);
#else
  if (section->bits == 4) {
    register_tiles(sums, &s, tokens, 4);
  } else {
    register_tiles(sums, &s, tokens, 8);
  }
#endif
}
