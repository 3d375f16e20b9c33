/**
 * Launches of `native/cuda/quantized_linear.cu`: products of few rows with weights of 4 and 8 bits.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import { kernelsByPair } from "./kernels_by_pair.ts";
import { type PackedMatrix, segmentShift } from "./packed_matrix.ts";
import type { QuantizedInput } from "./quantized_input.ts";

// kThreads and kInputOffset of quantized_linear.cu.
const THREADS = 256;
const INPUT_OFFSET = (64 << 10) + (16 << 10) + (8 << 10);

/** Rows of x begin this much off a multiple of 128 bytes in shared memory. */
const ROW_SKEW = 64;

/** A product of up to `MAX_SKINNY_ROWS` rows. */
export interface SkinnyQuantizedProduct {
  /** The result. */
  readonly out: Pick<Tensor, "address" | "rowStride" | "dtype">;
  /** The rows, in the matrix's order. */
  readonly input: QuantizedInput;
  /** Type of the rows. */
  readonly compute: WeightDType;
  /** What they are multiplied with. */
  readonly matrix: PackedMatrix;
  /** Number of rows. */
  readonly rows: number;
  /** Address of the bias; 0: none. */
  readonly bias: bigint;
  /** GELU behind it. */
  readonly gelu: boolean;
  /** Whether the result is `silu(g) * u`: the matrix holds the rows of g, then those of u. */
  readonly gated: boolean;
}

/** Queues products of few rows. */
export function cudaSkinnyQuantized(
  context: CudaContext,
): (product: SkinnyQuantizedProduct) => void {
  const { multiprocessors, maxSharedBytes } = context.properties;
  const kernel = kernelsByPair(context, "skinny_quantized_linear", [
    ...["pointer", "i32", "i32"] as const, // out
    ...["pointer", "i32", "i32"] as const, // x
    ...["pointer", "pointer", "i32", "u32"] as const, // weight
    ...["pointer", "i32", "i32"] as const, // bias, gelu, gated
    ...["i32", "i32", "i32", "i32"] as const,
  ], maxSharedBytes);

  return ({ out, input, compute, matrix, rows, bias, gelu, gated }) => {
    const outputs = gated ? matrix.outFeatures / 2 : matrix.outFeatures;
    const inputRowBytes = Math.ceil(input.columns * dtypeBytes(compute) / 128) * 128;
    const withInput = INPUT_OFFSET + rows * (inputRowBytes + ROW_SKEW);
    // Long rows may not fit: they are read from the caches, which costs some bandwidth.
    const inShared = withInput <= maxSharedBytes;
    kernel(matrix.format, compute).launch({
      grid: [Math.min(multiprocessors, outputs)],
      threads: THREADS,
      sharedBytes: inShared ? withInput : INPUT_OFFSET,
    }, [
      out.address,
      out.rowStride,
      out.dtype === "f32" ? 1 : 0,
      input.address,
      input.rowStride,
      inShared ? 1 : 0,
      matrix.values,
      matrix.segments,
      segmentShift(matrix),
      matrix.zeroMask,
      bias,
      gelu ? 1 : 0,
      gated ? 1 : 0,
      rows,
      outputs,
      input.columns,
      matrix.layout.inputs,
    ]);
  };
}
