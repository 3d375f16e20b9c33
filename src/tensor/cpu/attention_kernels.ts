/**
 * The kernels of `native/cpu/attention.c`: checks, then the call.
 * @module
 */
import type { AttentionKernels, AttentionShape } from "../attention_kernels.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";
import { checkCache, cpuKvCache, kvTypeCode } from "./kv_cache.ts";
import { CPU_ROTATE_SYMBOLS, cpuRotateAndCache } from "./rotate_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_ATTENTION_SYMBOLS = {
  ...CPU_ROTATE_SYMBOLS,
  // int64_t weft_attention_scratch_bytes(int32_t tokens, int32_t sequences, int32_t num_heads,
  //     int32_t num_kv_heads)
  weft_attention_scratch_bytes: { parameters: ["i32", "i32", "i32", "i32"], result: "i64" },
  // int32_t weft_paged_attention(weft_pool* pool, float* out, int32_t out_stride,
  //     const float* queries, int32_t query_stride, const char* keys, const char* values,
  //     int32_t type, int32_t num_blocks, const int32_t* query_starts, const int32_t* context_starts,
  //     const int32_t* table_rows, const int32_t* block_tables, int32_t num_tables,
  //     int32_t max_blocks, int32_t tokens, int32_t sequences,
  //     const int32_t* kv_head_of_head, int32_t num_heads, int32_t num_kv_heads, int32_t head_dim,
  //     float scale, int32_t sliding_window, char* scratch, int64_t scratch_bytes)
  weft_paged_attention: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "usize",
      "usize",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "i32",
      "i32",
      "i32",
      "f32",
      "i32",
      "usize",
      "i64",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Room for the results of single partitions, when a step has too few sequences and heads to occupy
 * all threads. 16 MiB serve one sequence of 128k tokens with 32 heads of 128; beyond, partitions of a
 * sequence run one after another. Pages that are never touched take no memory.
 */
const PARTITION_BYTES = 16n * 1024n * 1024n;

/** Attention and its cache. Scratch memory is kept between steps, until the context's memory is disposed. */
export function cpuAttentionKernels(
  context: CpuContext<typeof CPU_ATTENTION_SYMBOLS>,
): AttentionKernels {
  const { kernels, memory, pool } = context;
  let scratch = 0n;
  let scratchBytes = 0n;
  // The largest step that the scratch was found to hold: most steps are no larger, and ask no more.
  let held = { tokens: -1, sequences: -1, numHeads: 0, numKvHeads: 0 };

  function reserveScratch(
    tokens: number,
    sequences: number,
    { numHeads, numKvHeads }: AttentionShape,
  ): void {
    if (
      tokens <= held.tokens && sequences <= held.sequences && numHeads <= held.numHeads &&
      numKvHeads <= held.numKvHeads
    ) return;
    const largest = {
      tokens: Math.max(tokens, held.tokens),
      sequences: Math.max(sequences, held.sequences),
      numHeads: Math.max(numHeads, held.numHeads),
      numKvHeads: Math.max(numKvHeads, held.numKvHeads),
    };
    const needed = PARTITION_BYTES + kernels.weft_attention_scratch_bytes(
      largest.tokens,
      largest.sequences,
      largest.numHeads,
      largest.numKvHeads,
    );
    if (needed > scratchBytes) {
      const larger = memory.allocate(Number(2n * needed));
      if (scratch !== 0n) memory.free(scratch);
      scratch = larger;
      scratchBytes = 2n * needed;
    }
    held = largest;
  }

  return {
    kvCache: (numBlocks, shape) => cpuKvCache(memory, numBlocks, shape),

    rotateAndCache: cpuRotateAndCache(context),

    pagedAttention(out, queries, cache, batch, counts, shape) {
      const { tokens, sequences } = counts;
      const { numHeads, numKvHeads, headDim } = shape;
      checkCpuActivations("pagedAttention", queries);
      const numBlocks = checkCache(cache, numKvHeads, headDim);
      const numTables = batch.blockTables.shape[0];
      const maxBlocks = batch.blockTables.rowStride;
      reserveScratch(tokens, sequences, shape);
      const status = kernels.weft_paged_attention(
        pool,
        out.address,
        out.rowStride,
        queries.address,
        queries.rowStride,
        cache.keys.address,
        cache.values.address,
        kvTypeCode(cache),
        numBlocks,
        batch.queryStarts.address,
        batch.contextStarts.address,
        batch.tableRows.address,
        batch.blockTables.address,
        numTables,
        maxBlocks,
        tokens,
        sequences,
        shape.kvHeadOfHead.address,
        numHeads,
        numKvHeads,
        headDim,
        shape.scale,
        shape.slidingWindow,
        scratch,
        scratchBytes,
      );
      if (status >= 0) {
        throw new RangeError(
          `Cannot attend as tokens or blocks of sequence ${status} are out of range: ` +
            `${tokens} tokens, ${numBlocks} blocks, ${maxBlocks} a sequence`,
        );
      }
      if (status < -1) {
        throw new RangeError(
          `Cannot attend as kvHeadOfHead names a head that the rank does not hold: it holds ${numKvHeads}`,
        );
      }
    },
  };
}
