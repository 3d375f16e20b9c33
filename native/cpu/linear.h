// Products with a weight matrix, whichever way it is kept.
#ifndef WEFT_LINEAR_H
#define WEFT_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"

// How a weight is kept for products. Each kind is one file, with the three functions below.
enum {
  WEFT_ROWS = 0,       // as stored: linear_rows.c
  WEFT_PANELS = 1,     // bf16 panels: linear_panels.c
  WEFT_QUANTIZED = 2,  // int8 or int4 panels: quantized_linear.c
};

// Rows of a weight that lie together: `rows` rows, `stride` elements apart, of WEFT_F32, WEFT_F16
// or WEFT_BF16 (simd.h).
typedef struct {
  const void* data;
  int64_t rows;
  int64_t stride;
  int64_t format;
} weft_segment;

// A weight [out_features, in_features].
typedef struct {
  int64_t kind;
  int64_t out_features;
  int64_t in_features;
  int64_t block_size;  // of the sum over in_features; 0: one block
  // The rows as stored, for products of kind WEFT_ROWS and for look-ups in quantised weights; none
  // where only the packed form is kept.
  const weft_segment* segments;
  int64_t num_segments;
  // What the kind packs: a weft_panels (linear_panels.h) or a weft_quantized.
  const void* packed;
  // Bytes that one token's activations take once they are prepared for the kind's product; 0 where
  // they are read as they are.
  int64_t token_bytes;
} weft_weight;

// What becomes of a sum with its bias.
enum {
  WEFT_IDENTITY = 0,
  WEFT_GELU = 1,
  // out[t, i] = silu(sum[t, i]) * sum[t, size + i], where size is half of the weight's outputs.
  WEFT_SILU_GATED = 2,
};

// out[t, o] = activation(sum over k of x[source(t), k] * weight[o, k] (+ bias[o])). The bits of an
// output depend on its two rows, in_features and block_size only: not on the other tokens, on the
// tile that computes it or on the cut into pieces.
typedef struct {
  float* out;
  int64_t out_stride;
  const float* x;
  int64_t x_stride;
  // source(t) = x_rows[t] / x_divisor, or t where x_rows is NULL.
  const int32_t* x_rows;
  int64_t x_divisor;
  const weft_weight* weight;
  const float* bias;  // may be NULL
  int64_t activation;
  // Prepared activations of the job's tokens, token_bytes each, 64-byte aligned; written by
  // weft_linear_prepare.
  char* prepared;
} weft_linear_job;

// A job cut into pieces of outputs by tokens whose operands stay in the cache.
typedef struct {
  weft_linear_job job;
  int64_t tokens;
  int64_t outputs;
  int64_t output_chunk;
  int64_t token_chunk;
  int64_t token_chunks;
  int64_t count;
} weft_linear_pieces;

// Memory for prepared activations, 64-byte aligned: a call with more tokens than fit is computed in
// several rounds.
typedef struct {
  char* memory;
  int64_t bytes;
} weft_token_scratch;

// The row of x that is token `token`.
static inline const float* weft_linear_source(const weft_linear_job* job, int64_t token) {
  const int64_t row = job->x_rows == NULL ? token : job->x_rows[token] / job->x_divisor;
  return job->x + row * job->x_stride;
}

// Outputs per token: half of the weight's where it is gated.
static inline int64_t weft_linear_outputs(const weft_linear_job* job) {
  return job->activation == WEFT_SILU_GATED ? job->weight->out_features / 2
                                            : job->weight->out_features;
}

// Whether the weight's kind computes the activation with the product.
int weft_linear_fuses(const weft_weight* weight, int64_t activation);

// Tokens that one round takes.
int64_t weft_linear_round(const weft_weight* weight, weft_token_scratch scratch);

// Prepares tokens [begin, end) of the job.
void weft_linear_prepare(const weft_linear_job* job, int64_t begin, int64_t end);

// Cuts `job` over `tokens` tokens for so many threads.
weft_linear_pieces weft_linear_cut(weft_linear_job job, int64_t tokens, int threads);

// Computes one piece on the calling thread.
void weft_linear_piece(const weft_linear_pieces* pieces, int64_t piece);

// How one kind cuts, for weft_linear_cut: outputs and tokens of a piece.
typedef struct {
  int64_t outputs;
  int64_t tokens;
} weft_linear_chunk;

// Outputs [begin, end) by tokens [begin, end).
typedef struct {
  int64_t output_begin;
  int64_t output_end;
  int64_t token_begin;
  int64_t token_end;
} weft_linear_range;

// WEFT_ROWS: lanes along K. Each block adds sixteen interleaved partial sums, then those by
// f32x16_sum. Fuses no activation.
weft_linear_chunk weft_rows_chunk(const weft_linear_job* job, int64_t tokens, int threads);
void weft_rows_product(const weft_linear_job* job, weft_linear_range range);

// WEFT_PANELS: lanes along the outputs, activations rounded to bf16, one accumulator an output in
// order of k inside a block. Fuses GELU, and SiLU where both halves are whole panels.
void weft_panels_prepare(const weft_linear_job* job, int64_t begin, int64_t end);
weft_linear_chunk weft_panels_chunk(const weft_linear_job* job, int64_t tokens, int threads);
void weft_panels_product(const weft_linear_job* job, weft_linear_range range);

// WEFT_QUANTIZED: lanes along the outputs; activations are rounded to bytes by segment, or exact. Fuses
// GELU, and SiLU where weft_quantized_gates.
void weft_quantized_prepare(const weft_linear_job* job, int64_t begin, int64_t end);
weft_linear_chunk weft_quantized_chunk(const weft_linear_job* job, int64_t tokens, int threads);
void weft_quantized_product(const weft_linear_job* job, weft_linear_range range);

// Whether both halves of the weight are whole panels of one section.
int weft_quantized_gates(const weft_weight* weight);

#endif
