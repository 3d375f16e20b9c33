// Linear layers: y = activation(x W^T + b) with f32 activations, whichever way W is kept.
#include "linear.h"

#include "activation.h"

int weft_linear_fuses(const weft_weight* weight, int64_t activation) {
  switch (weight->kind) {
    case WEFT_PANELS:
      return activation != WEFT_SILU_GATED || weight->out_features % 32 == 0;
    case WEFT_QUANTIZED:
      return activation != WEFT_SILU_GATED || weft_quantized_gates(weight);
    default:
      return activation == WEFT_IDENTITY;
  }
}

int64_t weft_linear_round(const weft_weight* weight, weft_token_scratch scratch) {
  return weight->token_bytes == 0 ? INT64_MAX : scratch.bytes / weight->token_bytes;
}

void weft_linear_prepare(const weft_linear_job* job, int64_t begin, int64_t end) {
  switch (job->weight->kind) {
    case WEFT_PANELS: weft_panels_prepare(job, begin, end); break;
    case WEFT_QUANTIZED: weft_quantized_prepare(job, begin, end); break;
  }
}

static weft_linear_chunk chunk_of(const weft_linear_job* job, int64_t tokens, int threads) {
  switch (job->weight->kind) {
    case WEFT_PANELS: return weft_panels_chunk(job, tokens, threads);
    case WEFT_QUANTIZED: return weft_quantized_chunk(job, tokens, threads);
    default: return weft_rows_chunk(job, tokens, threads);
  }
}

static int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

weft_linear_pieces weft_linear_cut(weft_linear_job job, int64_t tokens, int threads) {
  const weft_linear_chunk chunk = chunk_of(&job, tokens, threads);
  weft_linear_pieces pieces = {
      .job = job,
      .tokens = tokens,
      .outputs = weft_linear_outputs(&job),
      .output_chunk = chunk.outputs,
      .token_chunk = chunk.tokens,
  };
  pieces.token_chunks = ceil_divide(tokens, pieces.token_chunk);
  pieces.count = ceil_divide(pieces.outputs, pieces.output_chunk) * pieces.token_chunks;
  return pieces;
}

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

void weft_linear_piece(const weft_linear_pieces* pieces, int64_t piece) {
  const int64_t output = piece / pieces->token_chunks * pieces->output_chunk;
  const int64_t token = piece % pieces->token_chunks * pieces->token_chunk;
  const weft_linear_range range = {
      .output_begin = output,
      .output_end = min(output + pieces->output_chunk, pieces->outputs),
      .token_begin = token,
      .token_end = min(token + pieces->token_chunk, pieces->tokens),
  };
  switch (pieces->job.weight->kind) {
    case WEFT_PANELS: weft_panels_product(&pieces->job, range); break;
    case WEFT_QUANTIZED: weft_quantized_product(&pieces->job, range); break;
    default: weft_rows_product(&pieces->job, range);
  }
}

static void prepare_task(void* argument, int64_t begin, int64_t end) {
  weft_linear_prepare(argument, begin, end);
}

static void linear_task(void* argument, int64_t begin, int64_t end) {
  for (int64_t piece = begin; piece < end; piece++) weft_linear_piece(argument, piece);
}

// Bytes of prepared activations that are worth handing to another thread.
enum { PREPARE_BYTES = 32 * 1024 };

static void run(weft_pool* pool, weft_linear_job job, int64_t tokens, weft_token_scratch scratch) {
  const int64_t round = weft_linear_round(job.weight, scratch);
  job.prepared = scratch.memory;
  for (int64_t begin = 0; begin < tokens; begin += round) {
    const int64_t count = min(round, tokens - begin);
    if (job.weight->token_bytes > 0) {
      weft_pool_run(pool, prepare_task, &job, count, PREPARE_BYTES / job.weight->token_bytes);
    }
    weft_linear_pieces pieces = weft_linear_cut(job, count, weft_pool_threads(pool));
    weft_pool_run(pool, linear_task, &pieces, pieces.count, 1);
    if (count == tokens) return;
    job.x += count * job.x_stride;
    job.out += count * job.out_stride;
  }
}

void weft_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x, int32_t x_stride,
                 const weft_weight* weight, const float* bias, int32_t tokens, int32_t activation,
                 void* scratch, int64_t scratch_bytes) {
  const int fused = weft_linear_fuses(weight, activation);
  const weft_linear_job job = {
      .out = out,
      .out_stride = out_stride,
      .x = x,
      .x_stride = x_stride,
      .weight = weight,
      .bias = bias,
      .activation = fused ? activation : WEFT_IDENTITY,
  };
  run(pool, job, tokens, (weft_token_scratch){scratch, scratch_bytes});
  if (activation == WEFT_GELU && !fused) {
    weft_gelu(pool, out, out_stride, out, out_stride, tokens, (int32_t)weight->out_features);
  }
}

// The first half of a gated feed-forward layer; `projected` [tokens][out_features] may be written.
void weft_gated_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                       int32_t x_stride, const weft_weight* weight, const float* bias,
                       int32_t tokens, float* projected, int32_t projected_stride, void* scratch,
                       int64_t scratch_bytes) {
  if (weft_linear_fuses(weight, WEFT_SILU_GATED)) {
    weft_linear(pool, out, out_stride, x, x_stride, weight, bias, tokens, WEFT_SILU_GATED, scratch,
                scratch_bytes);
    return;
  }
  weft_linear(pool, projected, projected_stride, x, x_stride, weight, bias, tokens, WEFT_IDENTITY,
              scratch, scratch_bytes);
  weft_silu_and_mul(pool, out, out_stride, projected, projected_stride, tokens,
                    (int32_t)(weight->out_features / 2));
}
