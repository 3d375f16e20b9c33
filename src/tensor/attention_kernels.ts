/**
 * The paged KV cache, and the kernels of attention over it.
 * @module
 */
import type { KvDType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** Number of tokens in one block of the KV cache. */
export const KV_BLOCK_SIZE = 16;

/** Geometry of one attention layer on this rank. */
export interface AttentionShape {
  /** Query heads held by this rank. */
  readonly numHeads: number;
  /** Key/value heads held by this rank. */
  readonly numKvHeads: number;
  /** Query head h reads key/value head `kvHeadOfHead[h]`; an i32 tensor `[numHeads]`. */
  readonly kvHeadOfHead: Tensor;
  /** Elements per head. */
  readonly headDim: number;
  /** Factor on the scores, usually 1/sqrt(headDim). */
  readonly scale: number;
  /** Keys a query sees, itself included; 0 means all. */
  readonly slidingWindow: number;
}

/** Heads of a layer's cache. */
export interface KvCacheShape {
  /** Key/value heads held by this rank. */
  readonly numKvHeads: number;
  /** Elements per head. */
  readonly headDim: number;
  /** How elements are kept. */
  readonly dtype: KvDType;
}

/** The cached keys and values of one layer; their layout is private to the device. */
export interface KvCacheLayer {
  /** Key blocks. */
  readonly keys: Tensor;
  /** Value blocks. */
  readonly values: Tensor;
  /** How their elements are kept. */
  readonly dtype: KvDType;
}

/**
 * The flattened batch of a step, in device memory. Buffers are allocated once for the largest step. The
 * host writes them, and kernels none but the block tables: some read the others ahead of their turn.
 */
export interface BatchTensors {
  /** i32 [tokens]: absolute position of each token. */
  readonly positions: Tensor;
  /** i32 [tokens]: `block * blockSize + offset` where the token's key and value go. */
  readonly slotMapping: Tensor;
  /** i32 [sequences + 1]: first token of each sequence, then the number of tokens. */
  readonly queryStarts: Tensor;
  /** i32 [sequences]: absolute position of each sequence's first token in this step. */
  readonly contextStarts: Tensor;
  /** i32 [sequences]: each sequence's row of `blockTables`. */
  readonly tableRows: Tensor;
  /** i32 [rows, maxBlocks]: block tables; they stay where they are while their sequences run. */
  readonly blockTables: Tensor;
}

/** What happens to queries and keys before they meet. */
export interface QueryKeyTransform {
  /** RMSNorm over each head, where the model has one: f32 weights `[headDim]`. */
  readonly headNorms:
    | { readonly query: Tensor; readonly key: Tensor; readonly epsilon: number }
    | null;
  /**
   * Rotary embedding (rotate-half form) by position, after the norm; null where positions are learned.
   * `table`: f32 `[maxPositions, rotaryDim]`, cosines in the first half of a row, sines in the second.
   */
  readonly rotary: { readonly table: Tensor; readonly rotaryDim: number } | null;
}

/** Positions, the KV cache, and attention over it. */
export interface AttentionKernels {
  /**
   * Allocates (untouched) key and value blocks for one layer. Keys and values are rounded to `dtype` when
   * they are stored. Throws RangeError when the device can't keep them in it.
   */
  kvCache(numBlocks: number, shape: KvCacheShape): KvCacheLayer;

  /**
   * Norms and rotates queries and keys, and stores keys and values at `slotMapping`. Queries
   * `[rows, numHeads * headDim]` change in place, keys `[rows, numKvHeads * headDim]` may.
   */
  rotateAndCache(
    cache: KvCacheLayer,
    qkv: { readonly queries: Tensor; readonly keys: Tensor; readonly values: Tensor },
    batch: BatchTensors,
    rows: number,
    shape: AttentionShape,
    transform: QueryKeyTransform,
  ): void;

  /** Causal attention of `queries` `[tokens, numHeads * headDim]` over the paged cache (current tokens already written). */
  pagedAttention(
    out: Tensor,
    queries: Tensor,
    cache: KvCacheLayer,
    batch: BatchTensors,
    counts: { tokens: number; sequences: number },
    shape: AttentionShape,
  ): void;
}
