/**
 * The KV cache of the CPU device, laid out as `native/cpu/kv_cache.h` says.
 * @module
 */
import { allocateKvCache } from "../allocate_kv_cache.ts";
import { KV_BLOCK_SIZE, type KvCacheLayer, type KvCacheShape } from "../attention_kernels.ts";
import { type DType, dtypeBytes, type KvDType } from "../dtype.ts";
import type { CpuMemory } from "./memory.ts";

/** Most elements of a head. */
const MAX_HEAD_DIM = 512;

/** Elements of a head are padded to whole vectors. */
const VECTOR = 16;

/** How native/cpu/kv_cache.h numbers its types. */
const TYPE_CODES: Readonly<Partial<Record<KvDType, number>>> = { f32: 0, bf16: 2, int8: 3 };

/** Number under which the kernels know a cache's type. */
export function kvTypeCode({ dtype }: KvCacheLayer): number {
  return TYPE_CODES[dtype]!;
}

/** Bytes of the keys, or of the values, of one block of a cache. */
export function cpuKvBlockBytes({ numKvHeads, headDim, dtype }: KvCacheShape): number {
  return numKvHeads * headElements(headDim, dtype) * dtypeBytes(elementType(dtype));
}

/** Allocates a layer's cache; throws RangeError for a type or size of head that it can't have. */
export function cpuKvCache(
  memory: CpuMemory,
  numBlocks: number,
  { numKvHeads, headDim, dtype }: KvCacheShape,
): KvCacheLayer {
  if (headDim < 1 || headDim > MAX_HEAD_DIM) {
    throw new RangeError(
      `Cannot make a KV cache as headDim must be from 1 to ${MAX_HEAD_DIM}: current value is ${headDim}`,
    );
  }
  if (TYPE_CODES[dtype] === undefined) {
    throw new RangeError(
      `Cannot make a KV cache as the CPU keeps keys and values in f32, bf16 or int8: dtype is ${dtype}`,
    );
  }
  return allocateKvCache(memory, dtype, {
    shape: [numBlocks, numKvHeads, headElements(headDim, dtype)],
    dtype: elementType(dtype),
  });
}

/** Number of blocks of a cache; throws RangeError when its heads are not those named. */
export function checkCache(
  { keys, dtype }: KvCacheLayer,
  numKvHeads: number,
  headDim: number,
): number {
  const { shape } = keys;
  const numBlocks = shape[0], heads = shape[1], elements = shape[2];
  if (heads !== numKvHeads || elements !== headElements(headDim, dtype)) {
    throw new RangeError(
      `Cannot use the KV cache as its heads are not ${numKvHeads} of ${headDim}: ` +
        `a block holds ${heads} of ${elements / KV_BLOCK_SIZE}`,
    );
  }
  return numBlocks;
}

function elementType(dtype: KvDType): DType {
  return dtype === "int8" ? "u8" : dtype;
}

/** What a head has in a block: 16 keys or values, and the f32 scale of each where elements are int8. */
function headElements(headDim: number, dtype: KvDType): number {
  const elements = KV_BLOCK_SIZE * Math.ceil(headDim / VECTOR) * VECTOR;
  return dtype === "int8" ? elements + KV_BLOCK_SIZE * dtypeBytes("f32") : elements;
}
