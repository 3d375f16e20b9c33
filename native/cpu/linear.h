// Products with a weight matrix that lies in row-stacked segments, in any stored format.
#ifndef WEFT_LINEAR_H
#define WEFT_LINEAR_H

#include <stdint.h>

#include "pool.h"

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
  const weft_segment* segments;
  int64_t num_segments;
  int64_t out_features;
  int64_t in_features;
  int64_t block_size;  // of the sum over in_features; 0: one block
} weft_weight;

// out[t, o] = sum over k of x[source(t), k] * weight[o, k] (+ bias[o]). The sum over k is cut into
// the weight's blocks; each adds sixteen interleaved partial sums, then those by f32x16_sum; the
// blocks are added by a binary tree of neighbours. So the bits of an output depend on its two rows,
// in_features and block_size only.
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
} weft_linear_job;

// A job cut into pieces of rows by tokens whose operands stay in the cache.
typedef struct {
  weft_linear_job job;
  int64_t tokens;
  int64_t row_chunk;
  int64_t token_chunk;
  int64_t token_chunks;
  int64_t count;
} weft_linear_pieces;

// Cuts `job` over `tokens` tokens for so many threads.
weft_linear_pieces weft_linear_cut(weft_linear_job job, int64_t tokens, int threads);

// Computes one piece on the calling thread.
void weft_linear_piece(const weft_linear_pieces* pieces, int64_t piece);

#endif
