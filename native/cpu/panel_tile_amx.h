// Tiles of panels by tokens in matrix tiles: tokens are A, panels are B as they lie. Each block is cut
// into tiles of one depth, as the instruction's order of additions depends on it.
#ifndef WEFT_PANEL_TILE_AMX_H
#define WEFT_PANEL_TILE_AMX_H

#include "amx.h"
#include "panel_group.h"

// Tiles 0 to 3 hold sums, 4 and 5 tokens, 6 and 7 panels.
enum { TILE_TOKENS = 4, TILE_PANELS = 6 };

// Tiles of weights that are asked for ahead of their use.
enum { TILES_AHEAD = 2 };

typedef struct {
  const panel_group* group;
  int64_t block;
  int64_t depth;       // pairs of k of a tile
  int64_t tiles;       // of a block
  const char* tokens;  // activations of the first token at this block
  int64_t token_bytes;
  int64_t next;  // next_block
} amx_block;

static void configure(const amx_block* b, int64_t tokens) {
  amx_shapes shapes = {0};
  for (int i = 0; i < 2; i++) {
    const int64_t left = tokens - i * AMX_ROWS;
    const int rows = (int)(left < 0 ? 0 : left < AMX_ROWS ? left : AMX_ROWS);
    if (rows > 0) amx_set_shape(&shapes, TILE_TOKENS + i, rows, (int)b->depth * 4);
    // Sums of 16 tokens and four panels, or of 32 tokens and two.
    for (int p = 0; p < 2; p++) {
      amx_set_shape(&shapes, 2 * i + p, tokens > AMX_ROWS ? rows : (int)tokens, AMX_ROW_BYTES);
    }
    amx_set_shape(&shapes, TILE_PANELS + i, (int)b->depth, AMX_ROW_BYTES);
  }
  amx_configure(&shapes);
}

static inline const uint16_t* panel_tile_at(const amx_block* b, int panel, int64_t tile) {
  return b->group->panels[panel] + (b->block * b->tiles + tile) * b->depth * PANEL_PAIR;
}

static inline void fetch_ahead(const amx_block* b, const uint16_t* panel, int64_t tile) {
  const int64_t size = b->depth * PANEL_PAIR;
  const int64_t past_end = tile + TILES_AHEAD - b->tiles;
  // Behind the last tile comes the next block's first.
  const uint16_t* ahead =
      past_end < 0 ? panel + TILES_AHEAD * size : panel + (past_end - tile) * size + b->next;
  for (int64_t i = 0; i < size; i += PANEL_PAIR) __builtin_prefetch(ahead + i);
}

// Sums of up to 16 tokens and four panels.
ALWAYS_INLINE void multiply_short(const amx_block* b, float* sums) {
  amx_zero(0);
  amx_zero(1);
  amx_zero(2);
  amx_zero(3);
  for (int64_t i = 0; i < b->tiles; i++) {
    const uint16_t* w[4];
    for (int p = 0; p < 4; p++) {
      w[p] = panel_tile_at(b, p, i);
      fetch_ahead(b, w[p], i);
    }
    amx_load(4, b->tokens + i * b->depth * 4, b->token_bytes);
    amx_load(6, w[0], AMX_ROW_BYTES);
    amx_dot_bf16(0, 4, 6);
    amx_load(7, w[1], AMX_ROW_BYTES);
    amx_dot_bf16(1, 4, 7);
    amx_load(6, w[2], AMX_ROW_BYTES);
    amx_dot_bf16(2, 4, 6);
    amx_load(7, w[3], AMX_ROW_BYTES);
    amx_dot_bf16(3, 4, 7);
  }
  const int64_t stride = WEFT_TILE_PANELS * AMX_ROW_BYTES;
  amx_store(0, sums, stride);
  amx_store(1, sums + 16, stride);
  amx_store(2, sums + 32, stride);
  amx_store(3, sums + 48, stride);
}

// Sums of 17 to 32 tokens and panels [first, first + 2).
ALWAYS_INLINE void multiply_tall(const amx_block* b, float* sums, const int first, int fetches) {
  const char* lower = b->tokens + AMX_ROWS * b->token_bytes;
  amx_zero(0);
  amx_zero(1);
  amx_zero(2);
  amx_zero(3);
  for (int64_t i = 0; i < b->tiles; i++) {
    const uint16_t *left = panel_tile_at(b, first, i), *right = panel_tile_at(b, first + 1, i);
    if (fetches) {
      fetch_ahead(b, left, i);
      fetch_ahead(b, right, i);
    }
    amx_load(6, left, AMX_ROW_BYTES);
    amx_load(4, b->tokens + i * b->depth * 4, b->token_bytes);
    amx_dot_bf16(0, 4, 6);
    amx_load(7, right, AMX_ROW_BYTES);
    amx_dot_bf16(1, 4, 7);
    amx_load(5, lower + i * b->depth * 4, b->token_bytes);
    amx_dot_bf16(2, 5, 6);
    amx_dot_bf16(3, 5, 7);
  }
  const int64_t stride = WEFT_TILE_PANELS * AMX_ROW_BYTES;
  float* out = sums + first * 16;
  float* lower_out = out + AMX_ROWS * WEFT_TILE_PANELS * 16;
  amx_store(0, out, stride);
  amx_store(1, out + 16, stride);
  amx_store(2, lower_out, stride);
  amx_store(3, lower_out + 16, stride);
}

// The panels of `group` with tokens [begin, end): block by block, so that a block of the panels stays
// in the cache while the tokens pass by.
static void multiply_group(const panel_group* group, int64_t begin, int64_t end) {
  const weft_weight* weight = group->job->weight;
  const weft_panels* panels = weight->packed;
  const int64_t tiles = (panels->block_pairs + AMX_ROWS - 1) / AMX_ROWS;
  _Alignas(64) float sums[WEFT_TILE_TOKENS][WEFT_TILE_PANELS][16];
  int64_t configured = 0;
  for (int64_t block = 0; block < panels->blocks; block++) {
    for (int64_t token = begin, count; token < end; token += count) {
      count = end - token < WEFT_TILE_TOKENS ? end - token : WEFT_TILE_TOKENS;
      const amx_block b = {
          .group = group,
          .block = block,
          .depth = panels->block_pairs / tiles,
          .tiles = tiles,
          .tokens = group->job->prepared + token * weight->token_bytes +
                    block * panels->block_pairs * 4,
          .token_bytes = weight->token_bytes,
          .next = next_block(group, block),
      };
      if (count != configured) configure(&b, count);
      configured = count;
      if (count <= AMX_ROWS) {
        multiply_short(&b, sums[0][0]);
      } else {
        multiply_tall(&b, sums[0][0], 0, token == begin);
        multiply_tall(&b, sums[0][0], 2, token == begin);
      }
      for (int64_t t = 0; t < count; t++) {
        f32x16 row[1][WEFT_TILE_PANELS];
        for (int p = 0; p < WEFT_TILE_PANELS; p++) row[0][p] = f32x16_load(sums[t][p]);
        if (merge_block(row, group, block, token + t, WEFT_TILE_PANELS, 1)) {
          store_outputs(row, group, token + t, is_gated(group->job), 1);
        }
      }
    }
  }
  amx_release();
}

#endif
