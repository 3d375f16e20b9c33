/**
 * The kernels of `native/cuda/norm.cu`.
 * @module
 */
import type { NormKernels } from "../norm_kernels.ts";
import type { CudaContext } from "./context.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";

/** Elements that a thread has at best, and at most: a block of 1024 has the longest row. */
const ELEMENTS_PER_THREAD = 8;
const MAX_ROW_SIZE = 16384;
const MAX_THREADS = 1024;
const WARP_SIZE = 32;

/** Bytes of shared memory of a block: its reductions' scratch. */
const SHARED_BYTES = 4 * WARP_SIZE;

/** The kernels that normalise rows of up to 16384 elements: a block takes a row. */
export function cudaNormKernels(context: CudaContext): NormKernels {
  const rmsNorm = kernelsByDtype(context, "rms_norm", [
    ...["pointer", "i32"] as const, // out
    ...["pointer", "i32"] as const, // x
    ...["pointer", "i32"] as const, // residual
    "pointer",
    "i32",
    "f32",
  ]);
  const layerNorm = kernelsByDtype(context, "layer_norm", [
    ...["pointer", "i32"] as const, // out
    ...["pointer", "i32"] as const, // x
    ...["pointer", "i32"] as const, // residual
    "pointer",
    "pointer",
    "i32",
    "f32",
  ]);

  return {
    rmsNorm(out, x, weight, rows, { epsilon, residual }) {
      const { size } = weight;
      rmsNorm(out.dtype).launch(rowShape("rmsNorm", rows, size), [
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        residual?.address ?? 0n,
        residual?.rowStride ?? 0,
        weight.address,
        size,
        epsilon,
      ]);
    },

    layerNorm(out, x, weight, bias, rows, { epsilon, residual }) {
      const { size } = weight;
      layerNorm(out.dtype).launch(rowShape("layerNorm", rows, size), [
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        residual?.address ?? 0n,
        residual?.rowStride ?? 0,
        weight.address,
        bias.address,
        size,
        epsilon,
      ]);
    },
  };
}

function rowShape(kernel: string, rows: number, size: number) {
  if (size > MAX_ROW_SIZE) {
    throw new RangeError(
      `Cannot run ${kernel} on a GPU as rows have at most ${MAX_ROW_SIZE} elements there: these have ${size}`,
    );
  }
  const warps = Math.max(1, Math.ceil(size / (ELEMENTS_PER_THREAD * WARP_SIZE)));
  const threads = Math.min(MAX_THREADS, warps * WARP_SIZE);
  return { grid: [rows] as const, threads, sharedBytes: SHARED_BYTES };
}
