// A few panels that are multiplied with the tokens of a piece: what becomes of the sums of their
// blocks, whatever instructions make those.
#ifndef WEFT_PANEL_GROUP_H
#define WEFT_PANEL_GROUP_H

#include "amx.h"
#include "linear.h"
#include "linear_panels.h"
#include "panel_simd.h"

// Most panels and tokens of a tile: what the accumulators leave room for. Three panels by eight tokens
// and four by six are as fast; where outputs are few, three share them more evenly among threads. Gate
// and up need an even number.
#if defined(WEFT_AMX)
#define WEFT_TILE_PANELS 4
#define WEFT_TILE_TOKENS 32
enum { PLAIN_PANELS = 4, GATED_PANELS = 4, PLAIN_TOKENS = 32, GATED_TOKENS = 32 };
#elif defined(__AVX512F__)
#define WEFT_TILE_PANELS 4
#define WEFT_TILE_TOKENS 8
enum { PLAIN_PANELS = 3, GATED_PANELS = 4, PLAIN_TOKENS = 8, GATED_TOKENS = 6 };
#else
#define WEFT_TILE_PANELS 2
#define WEFT_TILE_TOKENS 2
enum { PLAIN_PANELS = 2, GATED_PANELS = 2, PLAIN_TOKENS = 2, GATED_TOKENS = 2 };
#endif

// A prepared activation, and how n of them are stored. Matrix tiles take bf16, whatever vectors there
// are.
#if defined(WEFT_AMX)
typedef uint16_t tile_token;
static inline void store_tokens(tile_token* p, f32x16 a, int n) { f32x16_store_bf16_n(p, a, n); }
#else
typedef panel_token tile_token;
static inline void store_tokens(tile_token* p, f32x16 a, int n) { panel_store_token(p, a, n); }
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

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

static inline int is_gated(const weft_linear_job* job) {
  return job->activation == WEFT_SILU_GATED;
}

// Outputs of a group: gate and up of the same ones are computed together.
static inline int64_t group_outputs(const weft_linear_job* job) {
  return PANEL_OUTPUTS * (is_gated(job) ? GATED_PANELS / 2 : PLAIN_PANELS);
}

// From a block of the group to the one that is multiplied after it, which may be the next group's.
static inline int64_t next_block(const panel_group* group, int64_t block) {
  const weft_panels* panels = group->job->weight->packed;
  const int64_t neighbours = group_outputs(group->job) / PANEL_OUTPUTS;
  const int64_t size = panels->block_pairs * PANEL_PAIR;
  return block + 1 < panels->blocks ? size : size + (neighbours - 1) * weft_panel_size(panels);
}

// Adds the block's sums to those before by the tree of NUMERICS.md 1: like a binary counter, level l
// holds the sum of 2^l neighbours. Returns whether the sums are those of all blocks.
ALWAYS_INLINE int merge_block(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                              int64_t block, int64_t token, const int num_panels,
                              const int num_tokens) {
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
      for (int p = 0; p < num_panels; p++) {
        const f32x16 before = f32x16_load(level + (t * WEFT_TILE_PANELS + p) * 16);
        sums[t][p] = f32x16_add(before, sums[t][p]);
      }
    }
  }
  if (last) return 1;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      f32x16_store(level + (t * WEFT_TILE_PANELS + p) * 16, sums[t][p]);
    }
  }
  return 0;
}

ALWAYS_INLINE f32x16 add_bias(f32x16 sum, const weft_linear_job* job, int64_t output, int n) {
  return job->bias == NULL ? sum : f32x16_add(sum, f32x16_load_n(job->bias + output, n));
}

ALWAYS_INLINE void store_outputs(f32x16 sums[][WEFT_TILE_PANELS], const panel_group* group,
                                 int64_t token, const int gated, const int num_tokens) {
  enum { HALF = GATED_PANELS / 2 };
  const weft_linear_job* job = group->job;
  const int64_t outputs = weft_linear_outputs(job);
  const int num_panels = gated ? GATED_PANELS : PLAIN_PANELS;
  WEFT_UNROLL
  for (int t = 0; t < num_tokens; t++) {
    float* out = job->out + (token + t) * job->out_stride;
    WEFT_UNROLL
    for (int p = 0; p < num_panels; p++) {
      const int64_t output = group->outputs[p];
      if ((gated && p >= HALF) || output >= outputs) break;
      const int n = (int)(outputs - output < 16 ? outputs - output : 16);
      f32x16 y = add_bias(sums[t][p], job, output, n);
      if (gated) {
        const f32x16 up = add_bias(sums[t][(p + HALF) % GATED_PANELS], job, outputs + output, n);
        y = f32x16_mul(f32x16_silu(y), up);
      } else if (job->activation == WEFT_GELU) {
        y = f32x16_gelu_tanh(y);
      }
      f32x16_store_n(out + output, y, n);
    }
  }
}

#endif
