// Tiles of panels by tokens in vector registers.
#ifndef WEFT_PANEL_TILE_VECTOR_H
#define WEFT_PANEL_TILE_VECTOR_H

#include "panel_group.h"

// Sums of one block for the group's panels and num_tokens tokens. `ahead`: asks memory for what lies so
// many elements behind the block.
ALWAYS_INLINE void block_sums(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                              int64_t block, int64_t token, const int num_tokens,
                              const int64_t ahead) {
  const weft_panels* panels = group->job->weight->packed;
  const int64_t pairs = panels->block_pairs, token_bytes = group->job->weight->token_bytes;
  const uint16_t* w[WEFT_TILE_PANELS];
  const panel_token* x[WEFT_TILE_TOKENS];
  WEFT_UNROLL
  for (int p = 0; p < WEFT_TILE_PANELS; p++) {
    w[p] = group->panels[p] + block * pairs * PANEL_PAIR;
  }
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    x[t] = (const panel_token*)(group->job->prepared + (token + t) * token_bytes) +
           block * pairs * 2;
    WEFT_UNROLL
    for (int p = 0; p < WEFT_TILE_PANELS; p++) sums[t][p] = f32x16_zero();
  }
  for (int64_t i = 0; i < pairs; i++) {
    WEFT_UNROLL
    for (int p = 0; p < WEFT_TILE_PANELS; p++) {
      const panel_pairs weights = panel_load(w[p] + i * PANEL_PAIR);
      if (ahead != 0) __builtin_prefetch(w[p] + i * PANEL_PAIR + ahead, 0, 2);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        sums[t][p] = panel_multiply(sums[t][p], weights, x[t] + 2 * i);
      }
    }
  }
}

ALWAYS_INLINE void panel_tile(const panel_group* group, int64_t block, int64_t token,
                              const int num_tokens, const int64_t ahead) {
  f32x16 sums[WEFT_TILE_TOKENS][WEFT_TILE_PANELS];
  block_sums(sums, group, block, token, num_tokens, ahead);
  if (merge_block(sums, group, block, token, num_tokens)) {
    store_outputs(sums, group, token, num_tokens);
  }
}

// The panels of `group` with tokens [begin, end): block by block, so that a block of the panels stays
// in the cache while the tokens pass by.
static void multiply_group(const panel_group* group, int64_t begin, int64_t end) {
  const weft_panels* panels = group->job->weight->packed;
  for (int64_t block = 0; block < panels->blocks; block++) {
    int64_t token = begin;
    if (end - begin > WEFT_TILE_TOKENS) {
      // Memory works while the other tiles are computed from the cache.
      panel_tile(group, block, token, WEFT_TILE_TOKENS, next_block(group, block));
      token += WEFT_TILE_TOKENS;
    }
    for (; end - token >= WEFT_TILE_TOKENS; token += WEFT_TILE_TOKENS) {
      panel_tile(group, block, token, WEFT_TILE_TOKENS, 0);
    }
    switch (end - token) {
      case 1: panel_tile(group, block, token, 1, 0); break;
#if WEFT_TILE_TOKENS > 2
      case 2: panel_tile(group, block, token, 2, 0); break;
      case 3: panel_tile(group, block, token, 3, 0); break;
      case 4: panel_tile(group, block, token, 4, 0); break;
      case 5: panel_tile(group, block, token, 5, 0); break;
#endif
    }
  }
}

#endif
