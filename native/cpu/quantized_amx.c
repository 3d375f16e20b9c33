// Sums of products of bytes by matrix tiles: 16 or 32 tokens by two panels. A panel's quads are the
// rows of tile B as they lie.
#include "amx.h"
#include "quantized_tile.h"
#include "quantized_token.h"

#ifdef WEFT_AMX

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Tiles: token tile t and panel p of the two have their sums in tile 2 t + p.
enum { TOKENS_0 = 4, TOKENS_1 = 5, WEIGHTS_0 = 6, WEIGHTS_1 = 7 };

static void configure(int64_t tile_inputs, int tokens) {
  amx_shapes shapes = {0};
  for (int tile = 0; tile < TOKENS_0; tile++) amx_set_shape(&shapes, tile, tokens, AMX_ROW_BYTES);
  for (int tile = TOKENS_0; tile <= TOKENS_1; tile++) {
    amx_set_shape(&shapes, tile, tokens, (int)tile_inputs);
  }
  for (int tile = WEIGHTS_0; tile <= WEIGHTS_1; tile++) {
    amx_set_shape(&shapes, tile, (int)tile_inputs / 4, AMX_ROW_BYTES);
  }
  amx_configure(&shapes);
}

typedef struct {
  _Alignas(64) int32_t sums[2][2][AMX_ROWS][16];  // token tile, panel, token, output
} tile_sums;

// One or two token tiles by two panels, whose quads begin at `quads`.
ALWAYS_INLINE void multiply(tile_sums* out, const weft_quantized_section* section, int64_t segment,
                            const uint8_t* const* quads, quantized_tokens tokens,
                            const int token_tiles) {
  const weft_quantized_segment s = section->segments[segment];
  const int8_t* values = quantized_token_at(tokens.first, section).values + s.place;
  amx_zero(0);
  amx_zero(1);
  if (token_tiles == 2) {
    amx_zero(2);
    amx_zero(3);
  }
  for (int64_t k = 0; k < s.length; k += section->tile_inputs) {
    amx_load(WEIGHTS_0, quads[0] + k * WEFT_PANEL_ROWS, WEFT_UNIT_BYTES);
    amx_load(WEIGHTS_1, quads[1] + k * WEFT_PANEL_ROWS, WEFT_UNIT_BYTES);
    amx_load(TOKENS_0, values + k, tokens.stride);
    amx_dot_s8u8(0, TOKENS_0, WEIGHTS_0);
    amx_dot_s8u8(1, TOKENS_0, WEIGHTS_1);
    if (token_tiles == 2) {
      amx_load(TOKENS_1, values + AMX_ROWS * tokens.stride + k, tokens.stride);
      amx_dot_s8u8(2, TOKENS_1, WEIGHTS_0);
      amx_dot_s8u8(3, TOKENS_1, WEIGHTS_1);
    }
  }
  amx_store(0, out->sums[0][0], AMX_ROW_BYTES);
  amx_store(1, out->sums[0][1], AMX_ROW_BYTES);
  if (token_tiles == 2) {
    amx_store(2, out->sums[1][0], AMX_ROW_BYTES);
    amx_store(3, out->sums[1][1], AMX_ROW_BYTES);
  }
}

static void add_sums(f32x16* sums, const tile_sums* tiles, const quantized_run* run,
                     int64_t segment, quantized_tokens tokens, int p) {
  const weft_quantized_section* section = run->section;
  for (int i = 0; i < 2; i++) {
    const int64_t panel = run->panels[p + i];
    const f32x16 scales = quantized_scales(section, panel, segment);
    const i32x16 zeros = quantized_zeros(section, panel, segment);
    for (int64_t t = 0; t < tokens.count; t++) {
      const quantized_token token =
          quantized_token_at(tokens.first + t * tokens.stride, section);
      const i32x16 start = i32x16_mul(zeros, i32x16_set1(-token.sums[segment]));
      const int32_t* products = tiles->sums[t / AMX_ROWS][i][t % AMX_ROWS];
      f32x16* sum = &sums[t * run->count + p + i];
      *sum = quantized_add(*sum, i32x16_add(start, i32x16_load(products)), scales,
                           token.scales[segment]);
    }
  }
}

// All segments of the run with tokens of one or two tiles, which are configured.
static void add_tokens(f32x16* sums, const quantized_run* run, const uint8_t* const* quads,
                       quantized_tokens tokens) {
  for (int p = 0; p < run->count; p += 2) {
    const uint8_t* at[2] = {quads[p], quads[p + 1]};
    for (int64_t segment = run->begin; segment < run->end; segment++) {
      tile_sums out;
      if (tokens.count > AMX_ROWS) {
        multiply(&out, run->section, segment, at, tokens, 2);
      } else {
        multiply(&out, run->section, segment, at, tokens, 1);
      }
      add_sums(sums, &out, run, segment, tokens, p);
      // Whole units, each of which is 4 inputs or became twice as many.
      const int64_t bytes = weft_segment_units(run->section, segment) * WEFT_UNIT_BYTES *
                            (run->section->bits == 4 ? 2 : 1);
      at[0] += bytes;
      at[1] += bytes;
    }
  }
}

void weft_matrix_tiles(f32x16* sums, const quantized_run* run, const uint8_t* const* quads,
                       quantized_tokens tokens) {
  int configured = 0;
  while (tokens.count > 0) {
    const int64_t whole = tokens.count >= 2 * AMX_ROWS ? 2 * AMX_ROWS : AMX_ROWS;
    quantized_tokens part = tokens;
    if (part.count > whole) part.count = whole;
    const int rows = part.count < AMX_ROWS ? (int)part.count : AMX_ROWS;
    if (rows != configured) configure(run->section->tile_inputs, rows);
    configured = rows;
    add_tokens(sums, run, quads, part);
    sums += part.count * run->count;
    tokens.first += part.count * tokens.stride;
    tokens.count -= part.count;
  }
  amx_release();
}

#endif
