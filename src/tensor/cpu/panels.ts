/**
 * Weights packed into bf16 panels.
 * @module
 */
import type { CpuContext } from "./context.ts";
import { panelLayout } from "./panel_layout.ts";
import { weightFormat } from "./stored_rows.ts";
import { dtypeBytes } from "../dtype.ts";
import type { HostMatrix } from "../linear_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_PANEL_SYMBOLS = {
  // int64_t weft_panels_token_bytes(int64_t padded_features)
  weft_panels_token_bytes: { parameters: ["i64"], result: "i64" },
  // void weft_pack_panels(weft_pool* pool, uint16_t* panels, int32_t blocks, int32_t block_pairs,
  //     int32_t block_size, int32_t first_row, const void* source, int32_t format, int32_t rows,
  //     int32_t columns, int32_t row_stride, int32_t column_stride, int32_t mapped)
  weft_pack_panels: {
    parameters: [
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
      "i32",
      "i32",
      "i32",
    ],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** A packed weight, as its descriptor needs it. */
export interface PackedWeight {
  /** Address of the packed elements, in the context's packed memory; to be freed there. */
  readonly address: bigint;
  /** Address of structures that point into them, in the context's memory; to be freed there. */
  readonly structures?: bigint;
  /** Fields of the C structure that describes them, 8 bytes each. */
  readonly fields: readonly bigint[];
  /** Bytes of one token's prepared activations. */
  readonly tokenBytes: number;
}

/**
 * Copies stacked parts, of any stored type, into bf16 panels for sums in blocks of `blockSize` (0: one).
 * Pages of parts that lie in a mapped file are given back.
 */
export function packPanels(
  context: CpuContext<typeof CPU_PANEL_SYMBOLS>,
  parts: readonly HostMatrix[],
  sumBlockSize: number,
): PackedWeight {
  const { kernels, memory, pool } = context;
  const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
  const shape = { outFeatures, inFeatures: parts[0].columns };
  const { blockSize, blocks, blockPairs, size } = panelLayout(shape, sumBlockSize);
  const { address, isPacked } = memory.packed.allocate(size * dtypeBytes("bf16"));
  let firstRow = 0;
  for (const part of isPacked ? [] : parts) {
    const { rows, columns, rowStride, transposed = false, mapped = false } = part;
    kernels.weft_pack_panels(
      pool,
      address,
      blocks,
      blockPairs,
      blockSize,
      firstRow,
      part.address,
      weightFormat(part.dtype),
      rows,
      columns,
      transposed ? 1 : rowStride,
      transposed ? rowStride : 1,
      mapped ? 1 : 0,
    );
    firstRow += rows;
  }
  const paddedFeatures = 2 * blocks * blockPairs;
  return {
    address,
    // weft_panels of native/cpu/linear_panels.h.
    fields: [address, BigInt(blocks), BigInt(blockPairs)],
    tokenBytes: Number(kernels.weft_panels_token_bytes(BigInt(paddedFeatures))),
  };
}
