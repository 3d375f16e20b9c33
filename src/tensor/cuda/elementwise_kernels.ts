/**
 * The kernels of `native/cuda/elementwise.cu`.
 * @module
 */
import { type DType, dtypeBytes } from "../dtype.ts";
import type { ElementwiseKernels } from "../elementwise_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { LaunchShape } from "./kernel.ts";
import { kernelsByDtype } from "./kernels_by_dtype.ts";

const MAX_THREADS = 256;
const WARP_SIZE = 32;

/** Bytes that a thread has of a row. */
const PART_BYTES = 16;

/** Activations, sums and row copies: a thread takes 16 bytes. */
export function cudaElementwiseKernels(context: CudaContext): ElementwiseKernels {
  const siluAndMul = kernelsByDtype(context, "silu_and_mul", [
    "pointer",
    "i32",
    "pointer",
    "i32",
    "i32",
  ]);
  const gelu = kernelsByDtype(context, "gelu", ["pointer", "i32", "pointer", "i32", "i32"]);
  const add = context.kernel("add_f32", ["pointer", "pointer", "pointer", "i32"]);
  const addBias = context.kernel("add_bias_f32", ["pointer", "i32", "pointer", "i32"]);
  const gatherRows = context.kernel("gather_rows_f32", [
    "pointer",
    "i32",
    "pointer",
    "i32",
    "i32",
    "pointer",
    "i32",
  ]);

  return {
    siluAndMul(out, x, rows, size) {
      siluAndMul(x.dtype).launch(
        partsShape(rows, size, x.dtype),
        [out.address, out.rowStride, x.address, x.rowStride, size],
      );
    },

    gelu(out, x, rows, size) {
      gelu(x.dtype).launch(
        partsShape(rows, size, x.dtype),
        [out.address, out.rowStride, x.address, x.rowStride, size],
      );
    },

    add(out, a, b, count) {
      const blocks = Math.ceil(count * dtypeBytes("f32") / (MAX_THREADS * PART_BYTES));
      add.launch({ grid: [blocks], threads: MAX_THREADS }, [
        out.address,
        a.address,
        b.address,
        count,
      ]);
    },

    addBias(x, bias, rows) {
      const { size } = bias;
      addBias.launch(partsShape(rows, size), [x.address, x.rowStride, bias.address, size]);
    },

    gatherRows(out, x, index, rows, size) {
      gatherRows.launch(partsShape(rows, size), [
        out.address,
        out.rowStride,
        x.address,
        x.rowStride,
        x.shape[0],
        index.address,
        size,
      ]);
    },
  };
}

/** The grid of a kernel that takes rows in parts: `[rows, blocks of a row]`. */
export function partsShape(rows: number, size: number, dtype: DType = "f32"): LaunchShape {
  const parts = Math.ceil(size * dtypeBytes(dtype) / PART_BYTES);
  const threads = Math.min(MAX_THREADS, Math.max(1, Math.ceil(parts / WARP_SIZE)) * WARP_SIZE);
  return { grid: [rows, Math.ceil(parts / threads)], threads };
}
