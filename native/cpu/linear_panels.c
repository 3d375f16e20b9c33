// Products with bf16 panels: the activations are rounded to bf16, lanes are outputs, and each output
// has one accumulator that takes the k of a block in order.
#include "linear_panels.h"

#include "linear.h"
#include "panel_simd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Partial sums of the tree over blocks that a piece may keep: they lie on the stack of a thread.
enum { LEVEL_BYTES = 64 * 1024 };

// Tokens of a piece: their activations stay in the second-level cache.
enum { MAX_TOKENS = 252 };

int64_t weft_panels_token_bytes(int64_t padded_features) {
  return (padded_features * (int64_t)sizeof(panel_token) + 63) / 64 * 64;
}

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

void weft_panels_prepare(const weft_linear_job* job, int64_t begin, int64_t end) {
  const weft_weight* weight = job->weight;
  const weft_panels* panels = weight->packed;
  const int64_t padded = panels->block_pairs * 2;
  const int64_t block_size = weight->block_size > 0 ? weight->block_size : weight->in_features;
  for (int64_t token = begin; token < end; token++) {
    panel_token* out = (panel_token*)(job->prepared + token * weight->token_bytes);
    const float* x = weft_linear_source(job, token);
    for (int64_t block = 0; block < panels->blocks; block++, out += padded, x += block_size) {
      const int64_t size = min(block_size, weight->in_features - block * block_size);
      for (int64_t i = 0; i < padded; i += 16) {
        const int64_t stored = size - i < 0 ? 0 : min(size - i, 16);
        panel_store_token(out + i, f32x16_load_n(x + i, (int)stored), (int)min(padded - i, 16));
      }
    }
  }
}

// Panels that are multiplied together, with the tokens of a piece.
typedef struct {
  const weft_linear_job* job;
  // Addresses of the panels; past the last one it is repeated.
  const uint16_t* panels[WEFT_TILE_PANELS];
  // First output of each; those past the end of the outputs are not stored.
  int64_t outputs[WEFT_TILE_PANELS];
  int64_t token_begin;
  float* levels;
  int64_t level_size;
} panel_group;

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

// Adds the block's sums to those before by the tree of NUMERICS.md 1: like a binary counter, level l
// holds the sum of 2^l neighbours. Returns whether the sums are those of all blocks.
ALWAYS_INLINE int merge_block(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                              int64_t block, int64_t token, const int num_tokens) {
  const weft_panels* panels = group->job->weight->packed;
  const int last = block + 1 == panels->blocks;
  float* level = group->levels + (token - group->token_begin) * WEFT_TILE_PANELS * 16;
  int64_t rest = block;
  // After the last block the odd ones are carried up.
  for (; last ? rest != 0 : rest & 1; rest >>= 1, level += group->level_size) {
    if (!(rest & 1)) continue;
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      WEFT_UNROLL
      for (int p = 0; p < WEFT_TILE_PANELS; p++) {
        const f32x16 before = f32x16_load(level + (t * WEFT_TILE_PANELS + p) * 16);
        sums[t][p] = f32x16_add(before, sums[t][p]);
      }
    }
  }
  if (last) return 1;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    WEFT_UNROLL
    for (int p = 0; p < WEFT_TILE_PANELS; p++) {
      f32x16_store(level + (t * WEFT_TILE_PANELS + p) * 16, sums[t][p]);
    }
  }
  return 0;
}

ALWAYS_INLINE f32x16 add_bias(f32x16 sum, const weft_linear_job* job, int64_t output, int n) {
  return job->bias == NULL ? sum : f32x16_add(sum, f32x16_load_n(job->bias + output, n));
}

ALWAYS_INLINE void store_outputs(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                                 int64_t token, const int num_tokens) {
  enum { HALF = WEFT_TILE_PANELS / 2 };
  const weft_linear_job* job = group->job;
  const int64_t outputs = weft_linear_outputs(job);
  const int gated = job->activation == WEFT_SILU_GATED;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    float* out = job->out + (token + t) * job->out_stride;
    WEFT_UNROLL
    for (int p = 0; p < WEFT_TILE_PANELS; p++) {
      const int64_t output = group->outputs[p];
      if ((gated && p >= HALF) || output >= outputs) break;
      const int n = (int)min(outputs - output, 16);
      f32x16 y = add_bias(sums[t][p], job, output, n);
      if (gated) {
        const f32x16 up = add_bias(sums[t][(p + HALF) % WEFT_TILE_PANELS], job, outputs + output, n);
        y = f32x16_mul(f32x16_silu(y), up);
      } else if (job->activation == WEFT_GELU) {
        y = f32x16_gelu_tanh(y);
      }
      f32x16_store_n(out + output, y, n);
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

// Outputs of a group: gate and up of the same ones are computed together.
static int64_t group_outputs(const weft_linear_job* job) {
  return PANEL_OUTPUTS * (job->activation == WEFT_SILU_GATED ? WEFT_TILE_PANELS / 2
                                                              : WEFT_TILE_PANELS);
}

// From a block of the group to the one that is multiplied after it, which may be the next group's.
static int64_t next_block(const panel_group* group, int64_t block) {
  const weft_panels* panels = group->job->weight->packed;
  const int64_t neighbours = group_outputs(group->job) / PANEL_OUTPUTS;
  const int64_t size = panels->block_pairs * PANEL_PAIR;
  return block + 1 < panels->blocks ? size : size + (neighbours - 1) * weft_panel_size(panels);
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
