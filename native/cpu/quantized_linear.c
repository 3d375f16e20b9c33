// Products with quantised weights. Lanes are outputs. A segment's sum of products of bytes is an
// integer, from which a zero's share (zero times the sum of the token's bytes) is taken; it is
// exact in f32, where it is multiplied by both scales and added to the output's accumulator,
// segments in order. Blocks are added by the tree of NUMERICS.md 1. With exact activations, weights
// are widened instead and multiplied one by one, in order. Either way the bits are the same on
// every instruction set.
#include "linear.h"
#include "quantized.h"
#include "quantized_tile.h"

// Partial sums that a piece keeps on the stack of its thread.
enum { SUM_VECTORS = 1536 };

// Tokens of a piece: a multiple of every tile's.
enum { MAX_TOKENS = 96 };

// Panels of a group of few tokens: all those of a gate, then all those beside it, are read as two
// streams.
enum { STREAM_PANELS = 64 };

// Pieces of few tokens: at least so many bytes of weights, at most so many pieces a thread.
enum { STREAM_BYTES = 96 * 1024, STREAM_PIECES = 4 };

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Levels of the tree over so many blocks.
static int tree_levels(int64_t blocks) {
  int levels = 0;
  while ((blocks - 1) >> levels) levels++;
  return levels;
}

static int is_stream(const weft_linear_job* job, int64_t tokens) {
  const weft_quantized* weight = job->weight->packed;
  return tokens <= QUANTIZED_FEW_TOKENS && !weight->exact;
}

// Panels of outputs in a tile: where it is gated, as many others go with them.
static int64_t panels_together(const weft_linear_job* job, int64_t tokens) {
  if (is_stream(job, tokens) && tokens <= QUANTIZED_STREAM_TOKENS) return 1;
  return QUANTIZED_PANELS / (job->activation == WEFT_SILU_GATED ? 2 : 1);
}

// Panels of outputs in a group.
static int64_t group_panels(const weft_linear_job* job, const weft_quantized_section* section,
                            int64_t tokens) {
  const int64_t together = panels_together(job, tokens);
  if (!is_stream(job, tokens)) return together;
  const int64_t fitting = SUM_VECTORS / (tokens * (1 + tree_levels(section->blocks)));
  const int64_t panels = min(STREAM_PANELS, fitting) / (job->activation == WEFT_SILU_GATED ? 2 : 1);
  return max(panels / together, 1) * together;
}

// Panels whose outputs are computed together, for the tokens of a piece.
typedef struct {
  const weft_linear_job* job;
  const weft_quantized_section* section;
  int64_t panels[STREAM_PANELS];  // of the section; past its end the last is repeated
  int count;
  int64_t first_output;  // of the section
  int64_t token_begin;
  int64_t tokens;
  // [tokens][count] sums of the block, then the levels of the tree, each as large.
  f32x16* sums;
} panel_group;

// Adds the sums of block `block` to those before: like a binary counter, level l holds the sum of
// 2^l neighbours. After the last one the odd ones are carried up, and the sums are those of all
// blocks.
static void merge_block(const panel_group* group, int64_t block, int last) {
  const int64_t size = group->tokens * group->count;
  f32x16* sums = group->sums;
  f32x16* level = sums + size;
  for (int64_t rest = block; last ? rest != 0 : rest & 1; rest >>= 1, level += size) {
    if (!(rest & 1)) continue;
    for (int64_t i = 0; i < size; i++) sums[i] = f32x16_add(level[i], sums[i]);
  }
  if (last) return;
  for (int64_t i = 0; i < size; i++) {
    level[i] = sums[i];
    sums[i] = f32x16_zero();
  }
}

static void store(float* out, f32x16 a, int begin, int end) {
  if (begin == 0) {
    f32x16_store_n(out, a, end);
  } else {
    float lanes[16];
    f32x16_store(lanes, a);
    memcpy(out + begin, lanes + begin, (size_t)(end - begin) * sizeof(float));
  }
}

static f32x16 add_bias(f32x16 sum, const weft_linear_job* job, int64_t output, int n) {
  return job->bias == NULL ? sum : f32x16_add(sum, f32x16_load_n(job->bias + output, n));
}

// Outputs of the group that lie in `range`, of panels [0, stored).
static void store_outputs(const panel_group* group, weft_linear_range range) {
  const weft_linear_job* job = group->job;
  const int gated = job->activation == WEFT_SILU_GATED;
  const int stored = gated ? group->count / 2 : group->count;
  for (int64_t t = 0; t < group->tokens; t++) {
    const f32x16* sums = group->sums + t * group->count;
    float* out = job->out + (group->token_begin + t) * job->out_stride;
    for (int p = 0; p < stored; p++) {
      if (p > 0 && group->panels[p] == group->panels[p - 1]) break;
      const int64_t row = group->panels[p] * WEFT_PANEL_ROWS;
      const int64_t output = group->first_output + row;
      const int n = (int)min(group->section->rows - row, 16);
      const int begin = (int)max(range.output_begin - output, 0);
      const int end = (int)min(range.output_end - output, n);
      if (begin >= end) continue;
      f32x16 y = add_bias(sums[p], job, output, n);
      if (gated) {
        const int64_t up = weft_linear_outputs(job) + output;
        y = f32x16_mul(f32x16_silu(y), add_bias(sums[p + stored], job, up, n));
      } else if (job->activation == WEFT_GELU) {
        y = f32x16_gelu_tanh(y);
      }
      store(out + output, y, begin, end);
    }
  }
}

static void multiply_group(const panel_group* group) {
  const weft_quantized* weight = group->job->weight->packed;
  const weft_quantized_section* section = group->section;
  const quantized_tokens tokens = {
      .first = group->job->prepared + group->token_begin * group->job->weight->token_bytes,
      .stride = group->job->weight->token_bytes,
      .count = group->tokens,
  };
  if (is_stream(group->job, group->tokens)) {
    weft_integer_stream(
        &(quantized_stream){group->sums, section, group->panels, group->count, tokens});
    return;
  }
  for (int64_t i = 0; i < group->tokens * group->count; i++) group->sums[i] = f32x16_zero();
  int64_t unit = 0, block = 0;
  for (int64_t segment = 0; segment < section->num_segments;) {
    // What stays in the first-level cache while tokens pass by.
    const int64_t most = WEFT_SEGMENT_INPUTS * section->bits / 32;
    int64_t end = segment + 1, units = weft_segment_units(section, segment);
    while (!section->segments[end - 1].ends_block &&
           units + weft_segment_units(section, end) <= most) {
      units += weft_segment_units(section, end++);
    }
    // After the last segment of these panels come the first ones of those that are taken next.
    const int64_t others = panels_together(group->job, group->tokens) - 1;
    const int64_t skipped = end == section->num_segments ? others * section->units : 0;
    const int64_t ahead = (units + skipped) * WEFT_UNIT_BYTES;
    const quantized_run run = {section, segment,       end,         unit,
                               units,   group->panels, group->count, ahead};
    if (weight->exact) {
      weft_exact_run(group->sums, run, tokens);
    } else {
      weft_integer_run(group->sums, run, tokens);
    }
    segment = end;
    unit += units;
    if (section->segments[end - 1].ends_block) {
      merge_block(group, block++, segment == section->num_segments);
    }
  }
}

// Outputs of `range` that belong to the section whose first output is `first`.
static void section_product(const weft_linear_job* job, const weft_quantized_section* section,
                            int64_t first, weft_linear_range range) {
  const int gated = job->activation == WEFT_SILU_GATED;
  const int64_t half = weft_linear_outputs(job) / WEFT_PANEL_ROWS;
  const int64_t rows = gated ? weft_linear_outputs(job) : section->rows;
  const int64_t begin = max(range.output_begin - first, 0) / WEFT_PANEL_ROWS;
  const int64_t last = (min(range.output_end - first, rows) - 1) / WEFT_PANEL_ROWS;
  const int64_t tokens = range.token_end - range.token_begin;
  const int64_t together = panels_together(job, tokens);
  const int64_t most = group_panels(job, section, tokens);
  f32x16 sums[SUM_VECTORS];
  for (int64_t panel = begin; panel <= last; panel += most) {
    const int neighbours = (int)min(round_up(last + 1 - panel, together), most);
    panel_group group = {
        .job = job,
        .section = section,
        .count = gated ? 2 * neighbours : neighbours,
        .first_output = first,
        .token_begin = range.token_begin,
        .tokens = tokens,
        .sums = sums,
    };
    for (int p = 0; p < neighbours; p++) {
      group.panels[p] = min(panel + p, last);
      if (gated) group.panels[p + neighbours] = group.panels[p] + half;
    }
    multiply_group(&group);
    store_outputs(&group, range);
  }
}

void weft_quantized_product(const weft_linear_job* job, weft_linear_range range) {
  const weft_quantized* weight = job->weight->packed;
  int64_t first = 0;
  for (int64_t i = 0; i < weight->num_sections && first < range.output_end; i++) {
    const weft_quantized_section* section = &weight->sections[i];
    if (first + section->rows > range.output_begin) section_product(job, section, first, range);
    first += section->rows;
  }
}

// Outputs of a piece of few tokens. Pieces are long, as each begins with a wait for memory, but
// there are several a thread, so that one that is held up does not hold up all.
static int64_t stream_outputs(const weft_linear_job* job, int64_t tokens, int threads) {
  const weft_quantized* weight = job->weight->packed;
  const int64_t step = WEFT_PANEL_ROWS * panels_together(job, tokens);
  const int64_t bytes = job->weight->out_features * weight->sections[0].units * 4;
  const int64_t most = min(bytes / STREAM_BYTES, threads * STREAM_PIECES);
  const int64_t pieces = max(most / threads * threads, 1);
  return round_up((weft_linear_outputs(job) + pieces - 1) / pieces, step);
}

weft_linear_chunk weft_quantized_chunk(const weft_linear_job* job, int64_t tokens, int threads) {
  const weft_quantized* weight = job->weight->packed;
  int64_t blocks = 1;
  for (int64_t i = 0; i < weight->num_sections; i++) {
    blocks = max(blocks, weight->sections[i].blocks);
  }
  const int64_t fitting = SUM_VECTORS / QUANTIZED_PANELS / (1 + tree_levels(blocks));
  const int64_t whole = min(fitting, MAX_TOKENS) / QUANTIZED_TOKENS * QUANTIZED_TOKENS;
  return (weft_linear_chunk){
      .outputs = is_stream(job, tokens) ? stream_outputs(job, tokens, threads)
                                    : WEFT_PANEL_ROWS * panels_together(job, tokens),
      .tokens = max(whole, QUANTIZED_TOKENS),
  };
}

int weft_quantized_gates(const weft_weight* weight) {
  const weft_quantized* packed = weight->packed;
  return packed->num_sections == 1 && weight->out_features % (2 * WEFT_PANEL_ROWS) == 0;
}
