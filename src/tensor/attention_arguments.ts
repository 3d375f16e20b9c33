/**
 * Checks of the attention kernels' arguments, for every backend.
 * @module
 */
import {
  type AttentionKernels,
  type AttentionShape,
  type BatchTensors,
  KV_BLOCK_SIZE,
  type QueryKeyTransform,
} from "./attention_kernels.ts";
import { checkActivations, checkCount, checkMatrix, checkVector } from "./kernel_arguments.ts";

/** `kernels` behind checks of their arguments, which throw RangeError. */
export function checkedAttentionKernels(kernels: AttentionKernels): AttentionKernels {
  return {
    kvCache(numBlocks, shape) {
      const { numKvHeads, headDim } = shape;
      checkCount("kvCache", "the number of slots", numBlocks * KV_BLOCK_SIZE);
      checkCount("kvCache", "numKvHeads * headDim", numKvHeads * headDim);
      return kernels.kvCache(numBlocks, shape);
    },

    rotateAndCache(cache, qkv, batch, rows, shape, transform) {
      const { queries, keys, values } = qkv;
      const { numHeads, numKvHeads, headDim } = shape;
      const kernel = "rotateAndCache";
      checkActivations(kernel, "queries", queries, rows, numHeads * headDim);
      checkMatrix(kernel, "keys", keys, rows, numKvHeads * headDim, queries.dtype);
      checkMatrix(kernel, "values", values, rows, numKvHeads * headDim, queries.dtype);
      checkVector(kernel, "positions", batch.positions, rows, "i32");
      checkVector(kernel, "slotMapping", batch.slotMapping, rows, "i32");
      checkTransform(kernel, transform, headDim);
      kernels.rotateAndCache(cache, qkv, batch, rows, shape, transform);
    },

    pagedAttention(out, queries, cache, batch, counts, shape) {
      const { tokens } = counts;
      const { numHeads, headDim } = shape;
      const kernel = "pagedAttention";
      checkActivations(kernel, "queries", queries, tokens, numHeads * headDim);
      checkMatrix(kernel, "out", out, tokens, numHeads * headDim, queries.dtype);
      checkBatch(kernel, batch, counts.sequences);
      checkShape(kernel, shape);
      checkCount(kernel, "tokens * numHeads", tokens * numHeads);
      kernels.pagedAttention(out, queries, cache, batch, counts, shape);
    },
  };
}

function checkTransform(
  kernel: string,
  { headNorms, rotary }: QueryKeyTransform,
  headDim: number,
): void {
  if (headNorms) {
    checkVector(kernel, "the norm of queries", headNorms.query, headDim);
    checkVector(kernel, "the norm of keys", headNorms.key, headDim);
  }
  if (rotary) {
    const { table, rotaryDim } = rotary;
    checkMatrix(kernel, "the rotary table", table, Math.max(1, table.shape[0]), rotaryDim);
    if (rotaryDim % 2 !== 0 || rotaryDim > headDim) {
      throw new RangeError(
        `Cannot run ${kernel} as rotaryDim must be even and at most headDim ${headDim}: it is ${rotaryDim}`,
      );
    }
  }
}

function checkBatch(kernel: string, batch: BatchTensors, sequences: number): void {
  checkVector(kernel, "queryStarts", batch.queryStarts, sequences + 1, "i32");
  checkVector(kernel, "contextStarts", batch.contextStarts, sequences, "i32");
  checkVector(kernel, "tableRows", batch.tableRows, sequences, "i32");
  const { blockTables } = batch;
  const rows = blockTables.shape[0], columns = blockTables.shape[1] ?? 1;
  checkMatrix(kernel, "blockTables", blockTables, rows, columns, "i32");
  checkCount(kernel, "the size of blockTables", rows * blockTables.rowStride);
}

function checkShape(kernel: string, shape: AttentionShape): void {
  checkVector(kernel, "kvHeadOfHead", shape.kvHeadOfHead, shape.numHeads, "i32");
  checkCount(kernel, "slidingWindow", shape.slidingWindow);
  if (!(shape.scale > 0 && shape.scale < Infinity)) {
    throw new RangeError(
      `Cannot run ${kernel} as scale must be positive: current value is ${shape.scale}`,
    );
  }
}
