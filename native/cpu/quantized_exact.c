// Products of widened weights with f32 activations: see quantized_linear.c.
#include "integer_dot.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { EXACT_TOKENS = 4 };

// One segment of one panel: sums[t * stride].
ALWAYS_INLINE void add_segment(f32x16* sums, int stride, const weft_quantized_section* section,
                               int64_t segment, int64_t panel, const uint8_t* units,
                               quantized_tokens tokens, const int bits, const int num_tokens) {
  const f32x16 zeros = i32x16_to_f32(quantized_zeros(section, panel, segment));
  const f32x16 scales = quantized_scales(section, panel, segment);
  const weft_quantized_segment s = section->segments[segment];
  f32x16 local[EXACT_TOKENS];
  const float* x[EXACT_TOKENS];
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    local[t] = sums[t * stride];
    x[t] = exact_token_at(tokens.first + t * tokens.stride, section) + s.place;
  }
  const int quads = bits == 4 ? 2 : 1;
  for (int i = 0; i < s.length; i += 4 * quads, units += WEFT_UNIT_BYTES) {
    weight_quad w[2];
    if (bits == 4) {
      weight_quads_4(w, units);
    } else {
      w[0] = weight_quad_8(units);
    }
    WEFT_UNROLL
    for (int k = 0; k < 4 * quads; k++) {
      if (i + k >= s.length) break;
      const f32x16 q = weight_quad_to_f32(w[k / 4], k % 4);
      const f32x16 weights = f32x16_mul(f32x16_sub(q, zeros), scales);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        local[t] = f32x16_fma(weights, f32x16_set1(x[t][i + k]), local[t]);
      }
    }
  }
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) sums[t * stride] = local[t];
}

ALWAYS_INLINE void add_panel(f32x16* sums, const quantized_run* run, int panel,
                             quantized_tokens tokens, const int bits, const int num_tokens) {
  const uint8_t* units = quantized_units(run, panel);
  for (int64_t segment = run->begin; segment < run->end; segment++) {
    add_segment(sums + panel, run->count, run->section, segment, run->panels[panel], units, tokens,
                bits, num_tokens);
    units += weft_segment_units(run->section, segment) * WEFT_UNIT_BYTES;
  }
}

ALWAYS_INLINE void add_tokens(f32x16* sums, const quantized_run* run, quantized_tokens tokens,
                              const int bits) {
  while (tokens.count > 0) {
    const int taken = tokens.count < EXACT_TOKENS ? 1 : EXACT_TOKENS;
    for (int p = 0; p < run->count; p++) {
      if (taken == 1) {
        add_panel(sums, run, p, tokens, bits, 1);
      } else {
        add_panel(sums, run, p, tokens, bits, EXACT_TOKENS);
      }
    }
    sums += taken * run->count;
    tokens.first += taken * tokens.stride;
    tokens.count -= taken;
  }
}

void weft_exact_run(f32x16* sums, quantized_run run, quantized_tokens tokens) {
  if (run.section->bits == 4) {
    add_tokens(sums, &run, tokens, 4);
  } else {
    add_tokens(sums, &run, tokens, 8);
  }
}
