/**
 * Attention and the KV cache on the CPU.
 * @module
 */
import type { CpuContext } from "./cpu_context.ts";
import {
  type AttentionShape,
  type BatchTensors,
  type Device,
  KV_BLOCK_SIZE,
  type KvCacheLayer,
} from "./device.ts";
import { checkCount, checkMatrix, checkVector } from "./kernel_arguments.ts";
import { Tensor } from "./tensor.ts";

const MAX_HEAD_DIM = 512;

/**
 * Room for the results of single partitions, when a step has too few sequences and heads to occupy
 * all threads. 16 MiB serve one sequence of 128k tokens with 32 heads of 128; beyond, partitions of a
 * sequence run one after another. Pages that are never touched take no memory.
 */
const PARTITION_BYTES = 16 * 1024 * 1024;

/** The attention kernels of one CPU device. Keeps their scratch memory between steps. */
export class CpuAttention implements Disposable {
  readonly #device: Device;
  readonly #context: CpuContext;
  #scratch = 0n;
  #scratchBytes = 0;

  /** Kernels that run on the context's pool; caches are tensors of `device`. */
  constructor(device: Device, context: CpuContext) {
    this.#device = device;
    this.#context = context;
  }

  /** Keys `[blocks, heads, headDim, 16]` and values `[blocks, heads, 16, headDim]`, f32, untouched. */
  kvCache(numBlocks: number, shape: { numKvHeads: number; headDim: number }): KvCacheLayer {
    const { numKvHeads, headDim } = shape;
    checkCount("kvCache", "the number of slots", numBlocks * KV_BLOCK_SIZE);
    checkCount("kvCache", "numKvHeads * headDim", numKvHeads * headDim);
    if (headDim < 1 || headDim > MAX_HEAD_DIM) {
      throw new RangeError(
        `Cannot make a KV cache as headDim must be from 1 to ${MAX_HEAD_DIM}: current value is ${headDim}`,
      );
    }
    const keys = Tensor.allocate(this.#device, {
      shape: [numBlocks, numKvHeads, headDim, KV_BLOCK_SIZE],
    });
    try {
      const values = Tensor.allocate(this.#device, {
        shape: [numBlocks, numKvHeads, KV_BLOCK_SIZE, headDim],
      });
      return { keys, values };
    } catch (error) {
      keys[Symbol.dispose]();
      throw error;
    }
  }

  /** See {@linkcode Device.writeKvCache}; throws RangeError where a slot lies outside the cache. */
  writeKvCache(
    cache: KvCacheLayer,
    keys: Tensor,
    values: Tensor,
    slotMapping: Tensor,
    rows: number,
    shape: { numKvHeads: number; headDim: number },
  ): void {
    const { numKvHeads, headDim } = shape;
    const numBlocks = checkCache(cache, numKvHeads, headDim);
    checkMatrix("writeKvCache", "keys", keys, rows, numKvHeads * headDim);
    checkMatrix("writeKvCache", "values", values, rows, numKvHeads * headDim);
    checkVector("writeKvCache", "slotMapping", slotMapping, rows, "i32");
    const wrongRow = this.#context.kernels.weft_write_kv_cache(
      this.#context.pool,
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
  }

  /** See {@linkcode Device.pagedAttention}; throws RangeError where a block lies outside the cache. */
  pagedAttention(
    out: Tensor,
    queries: Tensor,
    cache: KvCacheLayer,
    batch: BatchTensors,
    counts: { tokens: number; sequences: number },
    shape: AttentionShape,
  ): void {
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
    this.#reserveScratch(tokens, sequences, shape);
    const status = this.#context.kernels.weft_paged_attention(
      this.#context.pool,
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
      this.#scratch,
      BigInt(this.#scratchBytes),
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
  }

  /** Grows the scratch when a step is larger than all before it. */
  #reserveScratch(tokens: number, sequences: number, shape: AttentionShape): void {
    const { numHeads, numKvHeads } = shape;
    const needed = PARTITION_BYTES +
      Number(
        this.#context.kernels.weft_attention_scratch_bytes(tokens, sequences, numHeads, numKvHeads),
      );
    if (needed <= this.#scratchBytes) return;
    const scratch = this.#context.memory.allocate(2 * needed);
    this[Symbol.dispose]();
    this.#scratch = scratch;
    this.#scratchBytes = 2 * needed;
  }

  /** Frees the scratch memory. */
  [Symbol.dispose](): void {
    if (this.#scratch !== 0n) this.#context.memory.free(this.#scratch);
    this.#scratch = 0n;
    this.#scratchBytes = 0;
  }
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
