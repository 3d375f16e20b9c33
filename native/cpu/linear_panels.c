// Products with bf16 panels: the activations are rounded to bf16, lanes are outputs, and each output
// has one accumulator that takes the k of a block in order.
#include "linear_panels.h"

#include "linear.h"
#include "panel_simd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Partial sums of the tree over blocks that a piece may keep: they lie on the stack of a thread.
enum { LEVEL_BYTES = 64 * 1024 };

// How far ahead memory is asked for weights that are read once, in pairs of k (64 bytes each).
enum { PREFETCH_PAIRS = 32 };

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
  const uint16_t* panels[8];
  // First output of each; those past the end of the outputs are not stored.
  int64_t outputs[8];
  // From the end of a panel to that of its successor in the next group: elements.
  int64_t turn;
  int64_t token_begin;
  float* levels;
  int64_t level_size;
} panel_group;

// Sums of one block for num_panels x num_tokens outputs, token t and panel p at t * num_panels + p.
ALWAYS_INLINE void block_sums(f32x16* sums, const panel_group* group, int64_t block, int64_t token,
                              const int first_use, const int num_panels, const int num_tokens) {
  const weft_panels* panels = group->job->weight->packed;
  const int64_t pairs = panels->block_pairs, token_bytes = group->job->weight->token_bytes;
  const uint16_t* w[8];
  const panel_token* x[8];
  WEFT_UNROLL
  for (int p = 0; p < num_panels; p++) w[p] = group->panels[p] + block * pairs * PANEL_PAIR;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    x[t] = (const panel_token*)(group->job->prepared + (token + t) * token_bytes) +
           block * pairs * 2;
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) sums[t * num_panels + p] = f32x16_zero();
  }
  int64_t i = 0;
  // Towards the end of a panel memory is asked for the next group's.
  const int64_t last = block + 1 == panels->blocks;
  for (int part = 0; part < (first_use ? 2 : 1); part++) {
    int64_t end = pairs, ahead = PREFETCH_PAIRS * PANEL_PAIR;
    if (first_use && part == 0 && last) end = pairs < PREFETCH_PAIRS ? 0 : pairs - PREFETCH_PAIRS;
    if (part == 1) ahead += group->turn;
    for (; i < end; i++) {
      WEFT_UNROLL
      for (int p = 0; p < num_panels; p++) {
        const panel_pairs weights = panel_load(w[p] + i * PANEL_PAIR);
        if (first_use) __builtin_prefetch(w[p] + i * PANEL_PAIR + ahead);
        WEFT_UNROLL
        for (int t = 0; t < num_tokens; t++) {
          sums[t * num_panels + p] =
              panel_multiply(sums[t * num_panels + p], weights, x[t] + 2 * i);
        }
      }
    }
  }
}

// Adds the block's sums to those before by the tree of NUMERICS.md 1: like a binary counter, level l
// holds the sum of 2^l neighbours. Returns whether the sums are those of all blocks.
ALWAYS_INLINE int merge_block(f32x16* sums, const panel_group* group, int64_t block, int64_t token,
                              const int num_panels, const int num_tokens) {
  const weft_panels* panels = group->job->weight->packed;
  const int last = block + 1 == panels->blocks;
  float* level = group->levels + (token - group->token_begin) * num_panels * 16;
  int64_t rest = block;
  // After the last block the odd ones are carried up.
  for (; last ? rest != 0 : rest & 1; rest >>= 1, level += group->level_size) {
    if (!(rest & 1)) continue;
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      WEFT_UNROLL
      for (int p = 0; p < num_panels; p++) {
        const int j = t * num_panels + p;
        sums[j] = f32x16_add(f32x16_load(level + j * 16), sums[j]);
      }
    }
  }
  if (last) return 1;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const int j = t * num_panels + p;
      f32x16_store(level + j * 16, sums[j]);
    }
  }
  return 0;
}

ALWAYS_INLINE f32x16 add_bias(f32x16 sum, const weft_linear_job* job, int64_t output, int n) {
  return job->bias == NULL ? sum : f32x16_add(sum, f32x16_load_n(job->bias + output, n));
}

ALWAYS_INLINE void store_outputs(const f32x16* sums, const panel_group* group, int64_t token,
                                 const int num_panels, const int num_tokens) {
  const weft_linear_job* job = group->job;
  const int64_t outputs = weft_linear_outputs(job);
  const int gated = job->activation == WEFT_SILU_GATED;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    float* out = job->out + (token + t) * job->out_stride;
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      if (gated && p >= num_panels / 2) break;
      const int64_t output = group->outputs[p];
      if (output >= outputs) break;
      const int n = (int)min(outputs - output, 16);
      f32x16 y = add_bias(sums[t * num_panels + p], job, output, n);
      if (gated) {
        const f32x16 up = sums[t * num_panels + p + num_panels / 2];
        y = f32x16_mul(f32x16_silu(y), add_bias(up, job, outputs + output, n));
      } else if (job->activation == WEFT_GELU) {
        y = f32x16_gelu_tanh(y);
      }
      f32x16_store_n(out + output, y, n);
    }
  }
}

ALWAYS_INLINE void panel_tile(const panel_group* group, int64_t block, int64_t token,
                              const int first_use, const int num_panels, const int num_tokens) {
  f32x16 sums[32];
  block_sums(sums, group, block, token, first_use, num_panels, num_tokens);
  if (merge_block(sums, group, block, token, num_panels, num_tokens)) {
    store_outputs(sums, group, token, num_panels, num_tokens);
  }
}

// The panels of `group` with tokens [begin, end): block by block, so that a block of the panels stays
// in the cache while the tokens pass by.
static void few_tokens(const panel_group* group, int64_t begin, int64_t end) {
  const weft_panels* panels = group->job->weight->packed;
  for (int64_t block = 0; block < panels->blocks; block++) {
    if (end - begin == 1) {
      panel_tile(group, block, begin, 1, WEFT_FEW_PANELS, 1);
    } else {
      panel_tile(group, block, begin, 1, WEFT_FEW_PANELS, 2);
    }
  }
}

static void many_tokens(const panel_group* group, int64_t begin, int64_t end) {
  const weft_panels* panels = group->job->weight->packed;
  for (int64_t block = 0; block < panels->blocks; block++) {
    for (int64_t token = begin; token < end; token += WEFT_MANY_TOKENS) {
      switch (end - token) {
        case 1: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, 1); break;
#if WEFT_MANY_TOKENS > 2
        case 2: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, 2); break;
        case 3: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, 3); break;
        case 4: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, 4); break;
        case 5: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, 5); break;
#endif
        default: panel_tile(group, block, token, 0, WEFT_MANY_PANELS, WEFT_MANY_TOKENS);
      }
    }
  }
}

void weft_panels_product(const weft_linear_job* job, weft_linear_range range) {
  const weft_panels* panels = job->weight->packed;
  const int64_t tokens = range.token_end - range.token_begin;
  const int few = tokens <= 2;
  const int num_panels = few ? WEFT_FEW_PANELS : WEFT_MANY_PANELS;
  const int gated = job->activation == WEFT_SILU_GATED;
  // Streams through the weight: panels of the same outputs of gate and up, or all neighbours.
  const int neighbours = gated ? num_panels / 2 : num_panels;
  const int64_t panel_size = weft_panel_size(panels);
  const int64_t half = weft_linear_outputs(job) / 16;
  _Alignas(64) float levels[LEVEL_BYTES / 4];
  for (int64_t output = range.output_begin; output < range.output_end; output += neighbours * 16) {
    panel_group group = {
        .job = job,
        .turn = (neighbours - 1) * panel_size,
        .token_begin = range.token_begin,
        .levels = levels,
        .level_size = tokens * num_panels * 16,
    };
    for (int p = 0; p < num_panels; p++) {
      group.outputs[p] = output + p % neighbours * 16;
      const int64_t stored = min(group.outputs[p], range.output_end - 1) / 16;
      group.panels[p] = panels->data + (stored + (p < neighbours ? 0 : half)) * panel_size;
    }
    if (few) {
      few_tokens(&group, range.token_begin, range.token_end);
    } else {
      many_tokens(&group, range.token_begin, range.token_end);
    }
  }
}

static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

weft_linear_chunk weft_panels_chunk(const weft_linear_job* job, int64_t tokens, int threads) {
  const weft_panels* panels = job->weight->packed;
  const int num_panels = tokens <= 2 ? WEFT_FEW_PANELS : WEFT_MANY_PANELS;
  const int64_t group = 16 * (job->activation == WEFT_SILU_GATED ? num_panels / 2 : num_panels);
  // Several pieces a thread, so that one that is held up does not hold up all.
  const int64_t share = round_up(weft_linear_outputs(job) / (threads * 8), group);
  int64_t levels = 0;
  while ((panels->blocks - 1) >> levels) levels++;
  const int64_t fitting = levels == 0 ? MAX_TOKENS : LEVEL_BYTES / (levels * num_panels * 64);
  const int64_t whole = min(fitting, MAX_TOKENS) / WEFT_MANY_TOKENS * WEFT_MANY_TOKENS;
  return (weft_linear_chunk){
      .outputs = tokens > 2 || share == 0 ? group : min(share, 4 * group),
      .tokens = whole < 2 ? 2 : whole,
  };
}
