// Tiles of panels by tokens in vector registers.
#ifndef WEFT_PANEL_TILE_VECTOR_H
#define WEFT_PANEL_TILE_VECTOR_H

#include "panel_group.h"

// Sums of one block for the group's panels and num_tokens tokens. `fetches`: asks memory for what lies
// ahead[p] elements behind panel p's.
ALWAYS_INLINE void block_sums(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                              int64_t block, int64_t token, const int num_panels,
                              const int num_tokens, const int64_t* ahead, const int fetches) {
  const weft_panels* panels = group->job->weight->packed;
  const int64_t pairs = panels->block_pairs, token_bytes = group->job->weight->token_bytes;
  const uint16_t *w[WEFT_TILE_PANELS], *next[WEFT_TILE_PANELS];
  const panel_token* x[WEFT_TILE_TOKENS];
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) {
    w[p] = group->panels[p] + block * pairs * PANEL_PAIR;
    next[p] = w[p] + ahead[p];
  }
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    x[t] = (const panel_token*)(group->job->prepared + (token + t) * token_bytes) +
           block * pairs * 2;
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) sums[t][p] = f32x16_zero();
  }
  for (int64_t i = 0; i < pairs; i++) {
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const panel_pairs weights = panel_load(w[p] + i * PANEL_PAIR);
      if (fetches) __builtin_prefetch(next[p] + i * PANEL_PAIR, 0, 2);
      WEFT_UNROLL
      for (int t = 0; t < num_tokens; t++) {
        sums[t][p] = panel_multiply(sums[t][p], weights, x[t] + 2 * i);
      }
    }
  }
}

ALWAYS_INLINE void panel_tile(const panel_group* group, int64_t block, int64_t token,
                              const int64_t* ahead, const int gated, const int num_tokens) {
  const int num_panels = gated ? GATED_PANELS : PLAIN_PANELS;
  f32x16 sums[WEFT_TILE_TOKENS][WEFT_TILE_PANELS];
  // One or two tokens wait for memory all the time, and the processor reads ahead by itself.
  const int fetches = num_tokens > 2 || WEFT_TILE_TOKENS == 2;
  block_sums(sums, group, block, token, num_panels, num_tokens, ahead, fetches);
  if (merge_block(sums, group, block, token, num_panels, num_tokens)) {
    store_outputs(sums, group, token, gated, num_tokens);
  }
}

// The panels of `group` with tokens [begin, end): block by block, so that a block of the panels stays
// in the cache while the tokens pass by.
ALWAYS_INLINE void multiply_tiles(const panel_group* group, int64_t begin, int64_t end,
                                  const int gated) {
  const int num_panels = gated ? GATED_PANELS : PLAIN_PANELS;
  const int max_tokens = gated ? GATED_TOKENS : PLAIN_TOKENS;
  const int64_t blocks = ((const weft_panels*)group->job->weight->packed)->blocks;
  const int64_t count = end - begin, tiles = (count + max_tokens - 1) / max_tokens;
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t next = next_block(group, block);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t token = begin + count * tile / tiles;
      // Panels are fetched while different tiles are computed, so that memory works all the time. What
      // is not fetched is asked for where it is.
      int64_t ahead[WEFT_TILE_PANELS];
      for (int p = 0; p < num_panels; p++) ahead[p] = p * tiles / num_panels == tile ? next : 0;
      switch (begin + count * (tile + 1) / tiles - token) {
        case 1: panel_tile(group, block, token, ahead, gated, 1); break;
        case 2: panel_tile(group, block, token, ahead, gated, 2); break;
#if WEFT_TILE_TOKENS > 2
        case 3: panel_tile(group, block, token, ahead, gated, 3); break;
        case 4: panel_tile(group, block, token, ahead, gated, 4); break;
        case 5: panel_tile(group, block, token, ahead, gated, 5); break;
        case 6: panel_tile(group, block, token, ahead, gated, 6); break;
        case 7: if (!gated) panel_tile(group, block, token, ahead, gated, 7); break;
        case 8: if (!gated) panel_tile(group, block, token, ahead, gated, 8); break;
#endif
      }
    }
  }
}

static void multiply_group(const panel_group* group, int64_t begin, int64_t end) {
  if (is_gated(group->job)) {
    multiply_tiles(group, begin, end, 1);
  } else {
    multiply_tiles(group, begin, end, 0);
  }
}

#endif
