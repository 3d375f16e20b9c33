/**
 * The kernels of `native/cuda/attention_*.cu` and `rotate_and_cache.cu`.
 * @module
 */
import { allocateKvCache } from "../allocate_kv_cache.ts";
import {
  type AttentionKernels,
  type AttentionShape,
  type BatchTensors,
  KV_BLOCK_SIZE,
  type KvCacheLayer,
} from "../attention_kernels.ts";
import { dtypeBytes } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import { attentionSplits } from "./attention_splits.ts";
import type { CudaContext } from "./context.ts";
import type { CudaKernel, KernelParameter } from "./kernel.ts";
import { cacheBlocks, cudaRotateAndCache } from "./rotate_and_cache.ts";

// These agree with the constants of the .cu files.
const MAX_HEAD_DIM = 256;
const DECODE_THREADS = 256;
const DECODE_SHARED_BYTES = 100388;
const PREFILL_THREADS = 128;
const PREFILL_ROWS = 128;
const PREFILL_KEYS = 64;
const ROWS_THREADS = 128;
const ROWS_SHARED_BYTES = 6696;
/** Outputs of four warps, and queries, of eight heads. */
const ROWS_SHARED_HEADS = 8 * (4 + 1);
/** Head sizes that the tensor cores' kernels are compiled for. */
const TENSOR_CORE_HEAD_DIMS: readonly number[] = [64, 128];
const VECTOR_BYTES = 16;

/** Rows and heads that can be split: each has a counter of the splits that are done. */
const COUNTERS = 16384;

const ATTENTION: readonly KernelParameter[] = [
  ...["pointer", "i32"] as const, // out
  ...["pointer", "i32"] as const, // queries
  ...["pointer", "pointer", "i32"] as const, // keys, values, number of blocks
  ...["pointer", "pointer", "pointer"] as const, // query starts, context starts, table rows
  ...["pointer", "i32", "i32", "i32"] as const, // block tables: rows, columns, stride
  "i32", // sequences
  ...["pointer", "i32", "i32"] as const, // KV head of each head, heads, KV heads
  ...["f32", "i32"] as const, // scale, sliding window
];
const SPLIT: readonly KernelParameter[] = [...ATTENTION, "i32", "pointer", "pointer"];

/**
 * Attention and its cache: keys and values `[blocks, numKvHeads, 16, headDim]`. Sequences with one
 * token in a step and those with more go to kernels of their own, which tell them apart on the GPU.
 */
export function cudaAttentionKernels(context: CudaContext): AttentionKernels {
  const { memory, properties: { multiprocessors } } = context;
  const kernels = new Map<string, CudaKernel>();
  const partialBytesByShape = new WeakMap<AttentionShape, number>();
  const counters = memory.allocate(4 * COUNTERS);
  memory.upload(counters, new Int32Array(COUNTERS));

  function kernel(name: string, parameters: readonly KernelParameter[], sharedBytes: number) {
    let found = kernels.get(name);
    if (found === undefined) {
      found = context.kernel(name, parameters, { sharedBytes });
      kernels.set(name, found);
    }
    return found;
  }

  function splitsOf(rows: number, { numHeads, numKvHeads }: AttentionShape): number {
    return rows * numHeads > COUNTERS ? 1 : attentionSplits(rows * numKvHeads, multiprocessors);
  }

  /** Room for the parts of any number of rows, so that no recording needs more than the first step. */
  function partialBytes(shape: AttentionShape): number {
    let bytes = partialBytesByShape.get(shape);
    if (bytes === undefined) {
      const { numHeads, headDim } = shape;
      let parts = 0;
      for (let rows = 1; rows * numHeads <= COUNTERS; rows++) {
        const splits = splitsOf(rows, shape);
        if (splits > 1) parts = Math.max(parts, rows * numHeads * splits);
      }
      // Each part of a head leaves its output, largest score and sum of weights.
      bytes = 4 * parts * (headDim + 2);
      partialBytesByShape.set(shape, bytes);
    }
    return bytes;
  }

  /** Launches a kernel whose blocks take one query token (a sequence's only one, or any) each. */
  function launchRows(
    { name, parameters, threads, sharedBytes }: RowKernel,
    rows: { count: number; singleOnly: boolean },
    shape: AttentionShape,
    args: readonly (bigint | number)[],
  ): void {
    const { numKvHeads, headDim } = shape;
    const splits = splitsOf(rows.count, shape);
    const partials = splits > 1 ? context.workspace(partialBytes(shape)) : 0n;
    const own = [rows.singleOnly ? 1 : 0, partials, counters];
    const tail = parameters.length > SPLIT.length ? [headDim] : [];
    kernel(name, parameters, sharedBytes).launch(
      { grid: [rows.count, numKvHeads, splits], threads, sharedBytes },
      [...args, ...own, ...tail],
    );
  }

  return {
    kvCache(numBlocks, { numKvHeads, headDim, dtype }) {
      if (headDim < 1 || headDim > MAX_HEAD_DIM) {
        throw new RangeError(
          `Cannot make a KV cache as headDim must be from 1 to ${MAX_HEAD_DIM} on a GPU: current value is ${headDim}`,
        );
      }
      if (dtype === "int8") {
        throw new RangeError(
          "Cannot make a KV cache as a GPU keeps keys and values in the activations' type: dtype is int8",
        );
      }
      const shape = [numBlocks, numKvHeads, KV_BLOCK_SIZE, headDim];
      return allocateKvCache(memory, dtype, { shape, dtype });
    },

    rotateAndCache: cudaRotateAndCache(context),

    pagedAttention(out, queries, cache, batch, { tokens, sequences }, shape) {
      if (tokens === 0) return;
      const { numHeads, headDim } = shape;
      const { dtype } = queries;
      const args = attentionArguments(out, queries, cache, batch, sequences, shape);
      const tensorCores = dtype !== "f32" && TENSOR_CORE_HEAD_DIMS.includes(headDim) &&
        isVectorAligned(queries) && isVectorAligned(out);
      if (!tensorCores) {
        const rows = {
          name: `attention_rows_${dtype}`,
          parameters: [...SPLIT, "i32"] as const,
          threads: ROWS_THREADS,
          sharedBytes: ROWS_SHARED_BYTES + 4 * ROWS_SHARED_HEADS * headDim,
        };
        launchRows(rows, { count: tokens, singleOnly: false }, shape, args);
        return;
      }
      const decode = {
        name: `attention_decode_${headDim}_${dtype}`,
        parameters: SPLIT,
        threads: DECODE_THREADS,
        sharedBytes: DECODE_SHARED_BYTES,
      };
      if (tokens <= sequences) {
        launchRows(decode, { count: tokens, singleOnly: false }, shape, args);
        return;
      }
      const sharedBytes = dtypeBytes(dtype) * headDim * (PREFILL_ROWS + 4 * PREFILL_KEYS);
      // At most this many when every sequence ends with a part of a tile.
      const tiles = Math.floor(tokens / PREFILL_ROWS) + sequences;
      kernel(`attention_prefill_${headDim}_${dtype}`, ATTENTION, sharedBytes).launch(
        { grid: [numHeads, tiles], threads: PREFILL_THREADS, sharedBytes },
        args,
      );
      if (sequences > 1) {
        launchRows(decode, { count: sequences, singleOnly: true }, shape, args);
      }
    },
  };
}

interface RowKernel {
  readonly name: string;
  readonly parameters: readonly KernelParameter[];
  readonly threads: number;
  readonly sharedBytes: number;
}

function attentionArguments(
  out: Tensor,
  queries: Tensor,
  cache: KvCacheLayer,
  batch: BatchTensors,
  sequences: number,
  shape: AttentionShape,
): (bigint | number)[] {
  const { blockTables } = batch;
  return [
    out.address,
    out.rowStride,
    queries.address,
    queries.rowStride,
    cache.keys.address,
    cache.values.address,
    cacheBlocks(cache, queries.dtype, shape),
    batch.queryStarts.address,
    batch.contextStarts.address,
    batch.tableRows.address,
    blockTables.address,
    blockTables.shape[0],
    blockTables.shape[1],
    blockTables.rowStride,
    sequences,
    shape.kvHeadOfHead.address,
    shape.numHeads,
    shape.numKvHeads,
    shape.scale,
    shape.slidingWindow,
  ];
}

function isVectorAligned({ address, rowStride, dtype }: Tensor): boolean {
  return address % BigInt(VECTOR_BYTES) === 0n &&
    rowStride * dtypeBytes(dtype) % VECTOR_BYTES === 0;
}
