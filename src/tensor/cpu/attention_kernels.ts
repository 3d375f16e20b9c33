/**
 * The kernels of `native/cpu/attention.c`, `kv_cache.c` and `rope.c`: checks, then the call.
 * @module
 */
import {
  type AttentionKernels,
  type AttentionShape,
  KV_BLOCK_SIZE,
  type KvCacheLayer,
} from "../attention_kernels.ts";
import type { CpuContext } from "./context.ts";
import { checkCount, checkHeads, checkMatrix, checkVector } from "../kernel_arguments.ts";
import { Tensor } from "../tensor.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_ATTENTION_SYMBOLS = {
  // int32_t weft_rope(weft_pool* pool, float* x, int32_t x_stride, const int32_t* positions,
  //                   const float* table, int32_t table_stride, int32_t table_rows, int32_t rows,
  //                   int32_t heads, int32_t head_size, int32_t rotary_size)
  weft_rope: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "i32",
      "i32",
    ],
    result: "i32",
  },
  // int32_t weft_write_kv_cache(weft_pool* pool, float* key_cache, float* value_cache,
  //     const float* keys, int32_t key_stride, const float* values, int32_t value_stride,
  //     const int32_t* slots, int32_t rows, int32_t num_blocks, int32_t num_kv_heads,
  //     int32_t head_dim)
  weft_write_kv_cache: {
    parameters: [
      "usize",
      "usize",
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
    ],
    result: "i32",
  },
  // int64_t weft_attention_scratch_bytes(int32_t tokens, int32_t sequences, int32_t num_heads,
  //     int32_t num_kv_heads)
  weft_attention_scratch_bytes: { parameters: ["i32", "i32", "i32", "i32"], result: "i64" },
  // int32_t weft_paged_attention(weft_pool* pool, float* out, int32_t out_stride,
  //     const float* queries, int32_t query_stride, const float* keys, const float* values,
  //     int32_t num_blocks, const int32_t* query_starts, const int32_t* context_starts,
  //     const int32_t* block_tables, int32_t max_blocks, int32_t tokens, int32_t sequences,
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
      "usize",
      "usize",
      "usize",
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

const MAX_HEAD_DIM = 512;

/**
 * Room for the results of single partitions, when a step has too few sequences and heads to occupy
 * all threads. 16 MiB serve one sequence of 128k tokens with 32 heads of 128; beyond, partitions of a
 * sequence run one after another. Pages that are never touched take no memory.
 */
const PARTITION_BYTES = 16 * 1024 * 1024;

/**
 * Attention and its cache: keys `[blocks, heads, headDim, 16]`, values `[blocks, heads, 16, headDim]`,
 * f32. Scratch memory is kept between steps, until the memory of the context is disposed.
 */
export function cpuAttentionKernels(
  { kernels, memory, pool }: CpuContext<typeof CPU_ATTENTION_SYMBOLS>,
): AttentionKernels {
  let scratch = 0n;
  let scratchBytes = 0;

  function reserveScratch(tokens: number, sequences: number, shape: AttentionShape): void {
    const { numHeads, numKvHeads } = shape;
    const needed = PARTITION_BYTES +
      Number(kernels.weft_attention_scratch_bytes(tokens, sequences, numHeads, numKvHeads));
    if (needed <= scratchBytes) return;
    const larger = memory.allocate(2 * needed);
    if (scratch !== 0n) memory.free(scratch);
    scratch = larger;
    scratchBytes = 2 * needed;
  }

  return {
    kvCache(numBlocks, shape) {
      const { numKvHeads, headDim } = shape;
      checkCount("kvCache", "the number of slots", numBlocks * KV_BLOCK_SIZE);
      checkCount("kvCache", "numKvHeads * headDim", numKvHeads * headDim);
      if (headDim < 1 || headDim > MAX_HEAD_DIM) {
        throw new RangeError(
          `Cannot make a KV cache as headDim must be from 1 to ${MAX_HEAD_DIM}: current value is ${headDim}`,
        );
      }
      const keys = Tensor.allocate(memory, {
        shape: [numBlocks, numKvHeads, headDim, KV_BLOCK_SIZE],
      });
      try {
        const values = Tensor.allocate(memory, {
          shape: [numBlocks, numKvHeads, KV_BLOCK_SIZE, headDim],
        });
        return { keys, values };
      } catch (error) {
        keys[Symbol.dispose]();
        throw error;
      }
    },

    rope(x, positions, table, rows, options) {
      const { numHeads, headDim, rotaryDim } = options;
      checkHeads("rope", x, rows, options);
      checkVector("rope", "positions", positions, rows, "i32");
      checkMatrix("rope", "table", table, table.shape[0], rotaryDim);
      if (rotaryDim % 2 !== 0 || rotaryDim > headDim) {
        throw new RangeError(
          `Cannot run rope as rotaryDim must be even and at most headDim ${headDim}: it is ${rotaryDim}`,
        );
      }
      const failed = kernels.weft_rope(
        pool,
        x.address,
        x.rowStride,
        positions.address,
        table.address,
        table.rowStride,
        table.shape[0],
        rows,
        numHeads,
        headDim,
        rotaryDim,
      );
      if (failed >= 0) {
        throw new RangeError(
          `Cannot run rope as the position of row ${failed} lies outside the table of ${
            table.shape[0]
          } positions`,
        );
      }
    },

    writeKvCache(cache, keys, values, slotMapping, rows, shape) {
      const { numKvHeads, headDim } = shape;
      const numBlocks = checkCache(cache, numKvHeads, headDim);
      checkMatrix("writeKvCache", "keys", keys, rows, numKvHeads * headDim);
      checkMatrix("writeKvCache", "values", values, rows, numKvHeads * headDim);
      checkVector("writeKvCache", "slotMapping", slotMapping, rows, "i32");
      const wrongRow = kernels.weft_write_kv_cache(
        pool,
        cache.keys.address,
        cache.values.address,
        keys.address,
        keys.rowStride,
        values.address,
        values.rowStride,
        slotMapping.address,
        rows,
        numBlocks,
        numKvHeads,
        headDim,
      );
      if (wrongRow >= 0) {
        throw new RangeError(
          `Cannot write the KV cache as the slot of row ${wrongRow} lies outside its ${numBlocks} blocks`,
        );
      }
    },

    pagedAttention(out, queries, cache, batch, counts, shape) {
      const { tokens, sequences } = counts;
      const { numHeads, numKvHeads, headDim } = shape;
      const numBlocks = checkCache(cache, numKvHeads, headDim);
      const maxBlocks = batch.blockTables.rowStride;
      checkMatrix("pagedAttention", "out", out, tokens, numHeads * headDim);
      checkMatrix("pagedAttention", "queries", queries, tokens, numHeads * headDim);
      checkVector("pagedAttention", "queryStarts", batch.queryStarts, sequences + 1, "i32");
      checkVector("pagedAttention", "contextStarts", batch.contextStarts, sequences, "i32");
      checkMatrix("pagedAttention", "blockTables", batch.blockTables, sequences, maxBlocks, "i32");
      checkVector("pagedAttention", "kvHeadOfHead", shape.kvHeadOfHead, numHeads, "i32");
      checkCount("pagedAttention", "slidingWindow", shape.slidingWindow);
      checkCount("pagedAttention", "tokens * numHeads", tokens * numHeads);
      reserveScratch(tokens, sequences, shape);
      const status = kernels.weft_paged_attention(
        pool,
        out.address,
        out.rowStride,
        queries.address,
        queries.rowStride,
        cache.keys.address,
        cache.values.address,
        numBlocks,
        batch.queryStarts.address,
        batch.contextStarts.address,
        batch.blockTables.address,
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
        BigInt(scratchBytes),
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

/** Number of blocks of a cache; throws RangeError when its shape is not the one named. */
function checkCache(cache: KvCacheLayer, numKvHeads: number, headDim: number): number {
  const [numBlocks, heads, dim] = cache.keys.shape;
  if (heads !== numKvHeads || dim !== headDim) {
    throw new RangeError(
      `Cannot use the KV cache as its heads differ from ${numKvHeads} of ${headDim}: they are ${heads} of ${dim}`,
    );
  }
  return numBlocks;
}
