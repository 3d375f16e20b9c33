/**
 * The kernel of `native/cuda/rotate_and_cache.cu`.
 * @module
 */
import type { AttentionKernels, KvCacheLayer } from "../attention_kernels.ts";
import { type DType, dtypeBytes } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import type { KernelParameter } from "./kernel.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";

/** Heads that a block takes, one a warp. */
const HEADS_PER_BLOCK = 4;

const PARAMETERS: readonly KernelParameter[] = [
  ...["pointer", "i32"] as const, // queries
  ...["pointer", "i32"] as const, // keys
  ...["pointer", "i32"] as const, // values
  ...["pointer", "pointer", "i32"] as const, // cached keys and values, number of blocks
  ...["pointer", "pointer"] as const, // positions, slots
  ...["pointer", "pointer", "f32"] as const, // norms of queries and keys, epsilon
  ...["pointer", "i32", "i32", "i32"] as const, // rotary table: stride, rows, columns
  ...["i32", "i32", "i32"] as const, // heads, KV heads, elements of a head
];

/**
 * Norm, rotation and cache write in one launch. A position outside the rotary table takes its nearest
 * row, and a slot outside the cache is not written.
 */
export function cudaRotateAndCache(context: CudaContext): AttentionKernels["rotateAndCache"] {
  const single = kernelsByDtype(context, "rotate_and_cache_1", PARAMETERS);
  const paired = kernelsByDtype(context, "rotate_and_cache_2", PARAMETERS);

  return (cache, { queries, keys, values }, batch, rows, shape, { headNorms, rotary }) => {
    const { numHeads, numKvHeads, headDim } = shape;
    const rotaryDim = rotary?.rotaryDim ?? 0;
    const isPaired = headDim % 2 === 0 && rotaryDim % 4 === 0 &&
      [queries, keys, values].every(isPairAligned);
    const kernel = (isPaired ? paired : single)(queries.dtype);
    const heads = numHeads + 2 * numKvHeads;
    const grid = [rows, Math.ceil(heads / HEADS_PER_BLOCK)] as const;
    kernel.launch({ grid, threads: 32 * HEADS_PER_BLOCK }, [
      queries.address,
      queries.rowStride,
      keys.address,
      keys.rowStride,
      values.address,
      values.rowStride,
      cache.keys.address,
      cache.values.address,
      cacheBlocks(cache, queries.dtype, shape),
      batch.positions.address,
      batch.slotMapping.address,
      headNorms?.query.address ?? 0n,
      headNorms?.key.address ?? 0n,
      headNorms?.epsilon ?? 0,
      rotary?.table.address ?? 0n,
      rotary?.table.rowStride ?? 0,
      rotary?.table.shape[0] ?? 0,
      rotaryDim,
      numHeads,
      numKvHeads,
      headDim,
    ]);
  };
}

/** Number of blocks of a cache; throws RangeError when it is not one of `shape`. */
export function cacheBlocks(
  { keys, dtype }: KvCacheLayer,
  activations: DType,
  { numKvHeads, headDim }: { readonly numKvHeads: number; readonly headDim: number },
): number {
  if (dtype !== activations) {
    throw new RangeError(
      `Cannot use the KV cache as a GPU keeps keys and values in the activations' type: it is ${dtype}, not ${activations}`,
    );
  }
  const [numBlocks, heads, , dim] = keys.shape;
  if (numBlocks === 0 || heads !== numKvHeads || dim !== headDim) {
    throw new RangeError(
      `Cannot use the KV cache as it must hold blocks of ${numKvHeads} heads of ${headDim}: it is [${keys.shape}]`,
    );
  }
  return numBlocks;
}

function isPairAligned({ address, rowStride, dtype }: Tensor): boolean {
  return address % BigInt(2 * dtypeBytes(dtype)) === 0n && rowStride % 2 === 0;
}
