// Sums of products of bytes with more than a few tokens: see quantized_linear.c.
#include "amx.h"
#include "integer_dot.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { HELD_SUMS = 2 * QUANTIZED_TOKENS };

// The run's segments of num_panels panels with num_tokens tokens. A panel's quads begin at
// quads[p]; sums[t * run->count + p] is that of panel p and token t.
ALWAYS_INLINE void add_segments(f32x16* sums, const quantized_run* run, const int64_t* panels,
                                const uint8_t* const* quads, quantized_tokens tokens,
                                const int bits, const int num_panels, const int num_tokens,
                                int64_t ahead) {
  const weft_quantized_section* section = run->section;
  const int stride = run->count;
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
  int64_t quad = 0;
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
        quad + weft_unit_count(section->segments[segment].length, bits) * (8 / bits);
    for (; quad < end; quad++, values += 4) {
      weight_quad w[QUANTIZED_PANELS];
      WEFT_UNROLL
      for (int p = 0; p < num_panels; p++) {
        const uint8_t* at = quads[p] + quad * WEFT_UNIT_BYTES;
        if (bits == 8) __builtin_prefetch(at + ahead, 0, 2);
        w[p] = weight_quad_8(at);
      }
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        const input_quad x = input_quad_load(values + t * tokens.stride);
        WEFT_UNROLL
        for (int p = 0; p < num_panels; p++) {
          i32x16* sum = &integers[t * num_panels + p];
          *sum = i32x16_dot(*sum, w[p], x, bits);
        }
      }
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
ALWAYS_INLINE void add_panels(f32x16* sums, const quantized_run* run, const uint8_t* const* quads,
                              quantized_tokens tokens, const int bits, const int num_panels,
                              const int num_tokens, int64_t ahead) {
  for (int p = 0; p < run->count; p += num_panels) {
    add_segments(sums + p, run, run->panels + p, quads + p, tokens, bits, num_panels, num_tokens,
                 ahead);
  }
}

ALWAYS_INLINE void register_tiles(f32x16* sums, const quantized_run* run,
                                  const uint8_t* const* quads, quantized_tokens tokens,
                                  const int bits, int64_t ahead) {
  const int panels = tile_panels(bits);
  while (tokens.count > 0) {
    switch (tokens.count) {
      case 1: add_panels(sums, run, quads, tokens, bits, panels, 1, ahead); break;
#if defined(__AVX512F__)
      case 2: add_panels(sums, run, quads, tokens, bits, panels, 2, ahead); break;
      case 3: add_panels(sums, run, quads, tokens, bits, panels, 3, ahead); break;
      case 4: add_panels(sums, run, quads, tokens, bits, panels, 4, ahead); break;
      case 5: add_panels(sums, run, quads, tokens, bits, panels, 5, ahead); break;
#endif
      default: add_panels(sums, run, quads, tokens, bits, panels, QUANTIZED_TOKENS, ahead);
    }
    sums += QUANTIZED_TOKENS * run->count;
    tokens.first += QUANTIZED_TOKENS * tokens.stride;
    tokens.count -= QUANTIZED_TOKENS;
  }
}

void weft_integer_run(f32x16* sums, quantized_run run, quantized_tokens tokens) {
  const weft_quantized_section* section = run.section;
  // Nibbles are unpacked once for all tokens. A matrix tile may read past the last segment.
  enum { UNPACKED = WEFT_SEGMENT_INPUTS * WEFT_PANEL_ROWS + WEFT_PANEL_SLACK };
  _Alignas(64) uint8_t unpacked[QUANTIZED_PANELS][UNPACKED];
  const uint8_t* quads[QUANTIZED_PANELS];
  for (int p = 0; p < run.count; p++) {
    quads[p] = quantized_units(&run, p);
    if (section->bits == 8) continue;
    for (int64_t u = 0; u < run.units; u++) {
      // With many tokens products take longer than the weights, and this only adds to them.
      if (tokens.count <= 32) {
        __builtin_prefetch(quads[p] + u * WEFT_UNIT_BYTES + run.ahead, 0, 2);
      }
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
    register_tiles(sums, &run, quads, tokens, 4, 0);
  } else {
    register_tiles(sums, &run, quads, tokens, 8, run.ahead);
  }
#endif
}
