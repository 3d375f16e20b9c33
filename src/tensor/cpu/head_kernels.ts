/**
 * The kernels of `native/cpu/norm.c`, `rope.c` and `kv_cache.c` that treat queries and keys head by head.
 * @module
 */
import type { KvCacheLayer } from "../attention_kernels.ts";
import { checkHeads, checkMatrix, checkVector } from "../kernel_arguments.ts";
import type { Tensor } from "../tensor.ts";
import type { CpuContext } from "./context.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_HEAD_SYMBOLS = {
  // void weft_head_rms_norm(weft_pool* pool, float* x, int32_t x_stride, const float* weight,
  //                         int32_t rows, int32_t heads, int32_t head_size, float epsilon)
  weft_head_rms_norm: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "f32"],
    result: "void",
  },
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
} as const satisfies Deno.ForeignLibraryInterface;

/** What `rotateAndCache` is made of on the CPU. */
export interface CpuHeadKernels {
  /** RMSNorm in place over each head of `x` (`[rows, heads * headDim]`, any row stride). */
  headRmsNorm(
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; numHeads: number; headDim: number },
  ): void;

  /**
   * Rotary embedding in place (rotate-half form) on `x` `[rows, numHeads * headDim]`.
   * `table`: f32 `[maxPositions, rotaryDim]`, cosines in the first half of a row, sines in the second.
   */
  rope(
    x: Tensor,
    positions: Tensor,
    table: Tensor,
    rows: number,
    options: { numHeads: number; headDim: number; rotaryDim: number },
  ): void;

  /** Stores keys and values `[rows, numKvHeads * headDim]` at `slotMapping`. */
  writeKvCache(
    cache: KvCacheLayer,
    keys: Tensor,
    values: Tensor,
    slotMapping: Tensor,
    rows: number,
    shape: { numKvHeads: number; headDim: number },
  ): void;
}

/** The kernels that treat single heads, on the context's pool. */
export function cpuHeadKernels(
  { kernels, pool }: CpuContext<typeof CPU_HEAD_SYMBOLS>,
): CpuHeadKernels {
  return {
    headRmsNorm(x, weight, rows, options) {
      const { epsilon, numHeads, headDim } = options;
      checkHeads("headRmsNorm", x, rows, options);
      checkVector("headRmsNorm", "weight", weight, headDim);
      kernels.weft_head_rms_norm(
        pool,
        x.address,
        x.rowStride,
        weight.address,
        rows,
        numHeads,
        headDim,
        epsilon,
      );
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
  };
}

/** Number of blocks of a cache; throws RangeError when its shape is not the one named. */
export function checkCache(cache: KvCacheLayer, numKvHeads: number, headDim: number): number {
  const [numBlocks, heads, dim] = cache.keys.shape;
  if (heads !== numKvHeads || dim !== headDim) {
    throw new RangeError(
      `Cannot use the KV cache as its heads differ from ${numKvHeads} of ${headDim}: they are ${heads} of ${dim}`,
    );
  }
  return numBlocks;
}
