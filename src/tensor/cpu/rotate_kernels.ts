/**
 * The kernel of `native/cpu/rotate_and_cache.c`: checks, then the call.
 * @module
 */
import type { AttentionKernels } from "../attention_kernels.ts";
import { checkCpuActivations } from "./arguments.ts";
import type { CpuContext } from "./context.ts";
import { checkCache, kvTypeCode } from "./kv_cache.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_ROTATE_SYMBOLS = {
  // int32_t weft_rotate_and_cache(weft_pool* pool, char* key_cache, char* value_cache, int32_t type,
  //     int32_t num_blocks, float* queries, int32_t query_stride, const float* keys,
  //     int32_t key_stride, const float* values, int32_t value_stride, const int32_t* positions,
  //     const int32_t* slots, int32_t rows, int32_t num_heads, int32_t num_kv_heads,
  //     int32_t head_dim, const float* query_norm, const float* key_norm, float epsilon,
  //     const float* table, int32_t table_stride, int32_t table_rows, int32_t rotary_dim)
  weft_rotate_and_cache: {
    parameters: [
      "usize",
      "usize",
      "usize",
      "i32",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "usize",
      "f32",
      "usize",
      "i32",
      "i32",
      "i32",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** `rotateAndCache` on the context's pool. */
export function cpuRotateAndCache(
  { kernels, pool }: CpuContext<typeof CPU_ROTATE_SYMBOLS>,
): AttentionKernels["rotateAndCache"] {
  return (cache, { queries, keys, values }, batch, rows, shape, { headNorms, rotary }) => {
    const { numHeads, numKvHeads, headDim } = shape;
    checkCpuActivations("rotateAndCache", queries);
    const numBlocks = checkCache(cache, numKvHeads, headDim);
    const positions = rotary?.table.shape[0] ?? 0;
    const status = kernels.weft_rotate_and_cache(
      pool,
      cache.keys.address,
      cache.values.address,
      kvTypeCode(cache),
      numBlocks,
      queries.address,
      queries.rowStride,
      keys.address,
      keys.rowStride,
      values.address,
      values.rowStride,
      batch.positions.address,
      batch.slotMapping.address,
      rows,
      numHeads,
      numKvHeads,
      headDim,
      headNorms?.query.address ?? 0n,
      headNorms?.key.address ?? 0n,
      headNorms?.epsilon ?? 0,
      rotary?.table.address ?? 0n,
      rotary?.table.rowStride ?? 0,
      positions,
      rotary?.rotaryDim ?? 0,
    );
    if (status < 0) return;
    const row = Math.floor(status / 2);
    throw new RangeError(
      status % 2 === 0
        ? `Cannot write the KV cache as the slot of row ${row} lies outside its ${numBlocks} blocks`
        : `Cannot rotate as the position of row ${row} lies outside the table of ${positions} positions`,
    );
  };
}
