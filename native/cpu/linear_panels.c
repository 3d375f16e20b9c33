// Products with bf16 panels: the activations are rounded to bf16, lanes are outputs, and each output
// has one accumulator that takes the k of a block in order.
#include "panel_group.h"

#if defined(WEFT_AMX)
#include "panel_tile_amx.h"
#else
#include "panel_tile_vector.h"
#endif

// Partial sums of the tree over blocks that a piece may keep: they lie on the stack of a thread.
enum { LEVEL_BYTES = 64 * 1024 };

// Tokens of a piece: their activations stay in the second-level cache.
enum { MAX_TOKENS = 256 };

// An odd number of cache lines: rows that lie a power of two apart would share few places in a cache.
int64_t weft_panels_token_bytes(int64_t padded_features) {
  const int64_t lines = (padded_features * (int64_t)sizeof(tile_token) + 63) / 64;
  return (lines | 1) * 64;
}

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

void weft_panels_prepare(const weft_linear_job* job, int64_t begin, int64_t end) {
  const weft_weight* weight = job->weight;
  const weft_panels* panels = weight->packed;
  const int64_t padded = panels->block_pairs * 2;
  const int64_t block_size = weight->block_size > 0 ? weight->block_size : weight->in_features;
  for (int64_t token = begin; token < end; token++) {
    tile_token* out = (tile_token*)(job->prepared + token * weight->token_bytes);
    const float* x = weft_linear_source(job, token);
    for (int64_t block = 0; block < panels->blocks; block++, out += padded, x += block_size) {
      const int64_t size = min(block_size, weight->in_features - block * block_size);
      for (int64_t i = 0; i < padded; i += 16) {
        const int64_t stored = size - i < 0 ? 0 : min(size - i, 16);
        store_tokens(out + i, f32x16_load_n(x + i, (int)stored), (int)min(padded - i, 16));
      }
    }
  }
}

void weft_panels_product(const weft_linear_job* job, weft_linear_range range) {
  const weft_panels* panels = job->weight->packed;
  const int64_t panel_size = weft_panel_size(panels);
  const int64_t step = group_outputs(job);
  const int64_t neighbours = step / PANEL_OUTPUTS;
  const int64_t first_up = weft_linear_outputs(job) / PANEL_OUTPUTS;
  _Alignas(64) float levels[LEVEL_BYTES / 4];
  for (int64_t output = range.output_begin; output < range.output_end; output += step) {
    panel_group group = {
        .job = job,
        .token_begin = range.token_begin,
        .levels = levels,
        .level_size = (range.token_end - range.token_begin) * WEFT_TILE_PANELS * 16,
    };
    for (int p = 0; p < WEFT_TILE_PANELS; p++) {
      group.outputs[p] = output + p % neighbours * PANEL_OUTPUTS;
      const int64_t panel = min(group.outputs[p], range.output_end - 1) / PANEL_OUTPUTS;
      group.panels[p] = panels->data + (panel + (p < neighbours ? 0 : first_up)) * panel_size;
    }
    multiply_group(&group, range.token_begin, range.token_end);
  }
}

static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

weft_linear_chunk weft_panels_chunk(const weft_linear_job* job, int64_t tokens, int threads) {
  const weft_panels* panels = job->weight->packed;
  const int64_t group = group_outputs(job);
  // Several pieces a thread, so that one that is held up does not hold up all. With few tokens they
  // are long, as each begins with a wait for memory.
  const int64_t share = round_up(weft_linear_outputs(job) / (threads * 8), group);
  const int64_t longest = tokens > WEFT_TILE_TOKENS ? group : 4 * group;
  int64_t levels = 0;
  while ((panels->blocks - 1) >> levels) levels++;
  const int64_t fitting =
      levels == 0 ? MAX_TOKENS : LEVEL_BYTES / (levels * WEFT_TILE_PANELS * 64);
  const int64_t whole = min(fitting, MAX_TOKENS) / WEFT_TILE_TOKENS * WEFT_TILE_TOKENS;
  return (weft_linear_chunk){
      .outputs = share == 0 ? group : min(share, longest),
      .tokens = whole,
  };
}
