/**
 * Launches of `native/cuda/linear.cu`: products of few rows, as fast as the weight can be read.
 * @module
 */
import { dtypeBytes } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { kernelsByPair } from "./kernels_by_pair.ts";
import type { CudaLinearWeight } from "./linear_weight.ts";
import type { ProductInput } from "./product_input.ts";

/** Most rows of a skinny product: kMaxRows of linear_tile.cuh. */
export const MAX_SKINNY_ROWS = 8;

// kThreads and kInputOffset of linear.cu.
const THREADS = 256;
const INPUT_OFFSET = (64 << 10) + (8 << 10);

/** Rows of x begin this much off a multiple of 128 bytes in shared memory. */
const ROW_SKEW = 64;

/** Queues products of up to {@linkcode MAX_SKINNY_ROWS} rows. */
export interface SkinnyLinear {
  /** `out = x weight^T + bias`, then GELU if `gelu`. */
  linear(
    out: Tensor,
    x: ProductInput,
    weight: CudaLinearWeight,
    rows: number,
    options: { readonly bias: Tensor | undefined; readonly gelu: boolean },
  ): void;
  /** `out = silu(g) * u`: `weight` holds the rows of g, then those of u. */
  gatedLinear(
    out: Tensor,
    x: ProductInput,
    weight: CudaLinearWeight,
    rows: number,
    bias: Tensor | undefined,
  ): void;
}

/** The kernels for few rows. */
export function cudaSkinnyLinear(context: CudaContext): SkinnyLinear {
  const { multiprocessors, maxSharedBytes } = context.properties;
  const linear = kernelsByPair(context, "skinny_linear", [
    ...["pointer", "i32"] as const, // out
    ...["pointer", "i32", "i32"] as const, // x
    ...["pointer", "pointer", "i32"] as const, // weight, bias, gelu
    ...["i32", "i32", "i32"] as const,
  ], maxSharedBytes);
  const gatedLinear = kernelsByPair(context, "skinny_gated_linear", [
    ...["pointer", "i32"] as const,
    ...["pointer", "i32", "i32"] as const,
    ...["pointer", "pointer"] as const,
    ...["i32", "i32", "i32"] as const,
  ], maxSharedBytes);

  function shapeOf(weight: CudaLinearWeight, rows: number, outputs: number) {
    const rowBytes = Math.ceil(weight.rowStride * dtypeBytes(weight.format) / 128) * 128;
    const withInput = INPUT_OFFSET + rows * (rowBytes + ROW_SKEW);
    // Long rows may not fit: they are read from the caches, which costs some bandwidth.
    const inShared = withInput <= maxSharedBytes;
    return {
      inShared: inShared ? 1 : 0,
      launch: {
        grid: [Math.min(multiprocessors, outputs)] as const,
        threads: THREADS,
        sharedBytes: inShared ? withInput : INPUT_OFFSET,
      },
    };
  }

  return {
    linear(out, x, weight, rows, { bias, gelu }) {
      const { outFeatures } = weight;
      const { inShared, launch } = shapeOf(weight, rows, outFeatures);
      linear(weight.format, out.dtype).launch(launch, [
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        inShared,
        weight.address,
        bias?.address ?? 0n,
        gelu ? 1 : 0,
        rows,
        outFeatures,
        weight.rowStride,
      ]);
    },

    gatedLinear(out, x, weight, rows, bias) {
      const outputs = weight.outFeatures / 2;
      const { inShared, launch } = shapeOf(weight, rows, outputs);
      gatedLinear(weight.format, out.dtype).launch(launch, [
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        inShared,
        weight.address,
        bias?.address ?? 0n,
        rows,
        outputs,
        weight.rowStride,
      ]);
    },
  };
}
