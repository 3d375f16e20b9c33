/**
 * Products with weights of 4 and 8 bits: `native/cuda/quantized_linear.cu` for few rows,
 * `native/cuda/quantized_matrix.cu` for more, and for very many cuBLAS on slices that become dense.
 * @module
 */
import { dtypeBytes, type WeightDType } from "../dtype.ts";
import { weightDtype } from "../linear_kernels.ts";
import type { Tensor } from "../tensor.ts";
import type { CudaContext } from "./context.ts";
import type { Convert } from "./convert.ts";
import { cudaFinishLinear } from "./finish_linear.ts";
import { kernelsByPair } from "./kernels_by_pair.ts";
import { cudaMatrixProduct } from "./matrix_product.ts";
import {
  inputThreads,
  type PackedFormat,
  type PackedMatrix,
  rowBytes,
  rowSegments,
  segmentShift,
} from "./packed_matrix.ts";
import { cudaQuantizedInputs, type QuantizedInput } from "./quantized_input.ts";
import type { CudaQuantizedWeight } from "./quantized_weight.ts";
import { cudaSkinnyQuantized } from "./skinny_quantized.ts";
import { MAX_SKINNY_ROWS } from "./skinny_linear.ts";

/**
 * Most rows that are multiplied from packed weights. Beyond, the tensor cores are better used by cuBLAS
 * than what it costs to write the weight in 16 bits: with 256 rows either takes about as long by
 * calculation (some 0.5 products of 16 x 8 x 16 a cycle here against twice that); `bench/gpu/kernels.ts`
 * measures both sides.
 */
export const MAX_PACKED_ROWS = 256;

// kThreads, kOutputs, kStages and kRows of quantized_matrix.cu.
const THREADS = 128;
const OUTPUTS = 64;
const STAGES = 3;
const TILE_ROWS = 64;

/** Inputs of a step of quantized_matrix.cu, and the fewest steps worth a block of their own. */
const STEP_INPUTS = 128;
const MIN_PART_STEPS = 4;

/** Blocks a multiprocessor that a product of few tiles is divided into. */
const BLOCKS_PER_PROCESSOR = 2;

/** Dense slices are small enough to stay in the second-level cache until cuBLAS has read them. */
const SLICE_BYTES = 16 << 20;

const WORD_BYTES = 4;

/** Bytes of shared memory of a block of quantized_matrix.cu. */
export function matrixSharedBytes(format: PackedFormat, compute: WeightDType): number {
  const inputBytes = (compute === "f32" ? 16 : TILE_ROWS) * STEP_INPUTS * dtypeBytes(compute);
  const weightBytes = OUTPUTS * STEP_INPUTS / (format === "int4" ? 2 : 1);
  // A word for each chunk of 32 inputs.
  const segmentBytes = WORD_BYTES * OUTPUTS * STEP_INPUTS / 32;
  return STAGES * (inputBytes + weightBytes + segmentBytes);
}

/** The most of any of them. */
export const MAX_MATRIX_SHARED_BYTES: number = matrixSharedBytes("int8", "bf16");

/** Where a product goes. */
export type QuantizedOutput = Pick<Tensor, "address" | "rowStride" | "dtype">;

/** What follows the sums. */
export interface QuantizedFinish {
  /** f32 `[outFeatures]`, added once. */
  readonly bias?: Tensor;
  /** GELU behind it. */
  readonly gelu?: boolean;
}

/** Queues products with quantised weights. */
export interface QuantizedLinear {
  /** `out = x weight^T + bias`, then GELU if `gelu`. */
  linear(
    out: QuantizedOutput,
    x: Tensor,
    weight: CudaQuantizedWeight,
    rows: number,
    finish: QuantizedFinish,
  ): void;
  /** `out = silu(g) * u` of few rows and a weight of one matrix; does nothing and returns false for others. */
  gatedLinear(
    out: QuantizedOutput,
    x: Tensor,
    weight: CudaQuantizedWeight,
    rows: number,
    bias: Tensor | undefined,
  ): boolean;
}

/** A product with one matrix: the arguments of each way to compute it. */
interface MatrixProblem {
  readonly out: QuantizedOutput;
  readonly x: Tensor;
  readonly matrix: PackedMatrix;
  readonly compute: WeightDType;
  readonly rows: number;
  readonly bias: bigint;
  readonly gelu: boolean;
}

/** The kernels for quantised weights. */
export function cudaQuantizedLinear(context: CudaContext, convert: Convert): QuantizedLinear {
  const { multiprocessors } = context.properties;
  const inputs = cudaQuantizedInputs(context, convert);
  const skinny = cudaSkinnyQuantized(context);
  const matrixProduct = cudaMatrixProduct(context);
  const finishLinear = cudaFinishLinear(context);
  const product = kernelsByPair(context, "quantized_linear", [
    ...["pointer", "i32", "i32"] as const, // out
    ...["pointer", "i32"] as const, // x
    ...["pointer", "pointer", "i32", "u32"] as const, // weight
    ...["pointer", "i32"] as const, // bias, gelu
    ...["i32", "i32", "i32", "i32"] as const,
  ], MAX_MATRIX_SHARED_BYTES);
  const unpack = kernelsByPair(context, "unpack", [
    ...["pointer", "pointer", "pointer", "i32", "u32", "i32"] as const,
  ], 0);

  /** Parts that the inputs of a product are divided into, where it has fewer tiles than there is room for. */
  function partsOf({ matrix, rows }: MatrixProblem): number {
    const tiles = Math.ceil(rows / TILE_ROWS) * Math.ceil(matrix.outFeatures / OUTPUTS);
    const steps = matrix.layout.inputs / STEP_INPUTS;
    const room = Math.floor(BLOCKS_PER_PROCESSOR * multiprocessors / tiles);
    return Math.max(1, Math.min(room, Math.floor(steps / MIN_PART_STEPS)));
  }

  function packedProduct(problem: MatrixProblem): void {
    const { out, x, matrix, compute, rows, bias, gelu } = problem;
    const { outFeatures: outputs } = matrix;
    const parts = partsOf(problem);
    const inputBytes = inputs.bytes(x, matrix, compute, rows);
    const sumBytes = parts > 1 ? 4 * parts * rows * outputs : 0;
    const workspace = context.workspace(inputBytes + sumBytes);
    const input = inputs.prepare(x, matrix, compute, { rows, workspace });
    const sums = { address: workspace + BigInt(inputBytes), rowStride: outputs, parts };
    const target = parts > 1 ? { ...sums, dtype: "f32" as const } : out;
    product(matrix.format, compute).launch({
      grid: [Math.ceil(rows / TILE_ROWS), Math.ceil(outputs / OUTPUTS), parts],
      threads: THREADS,
      sharedBytes: matrixSharedBytes(matrix.format, compute),
    }, [
      target.address,
      target.rowStride,
      target.dtype === "f32" ? 1 : 0,
      input.address,
      input.rowStride,
      matrix.values,
      matrix.segments,
      segmentShift(matrix),
      matrix.zeroMask,
      parts > 1 ? 0n : bias,
      parts === 1 && gelu ? 1 : 0,
      rows,
      outputs,
      input.columns,
      matrix.layout.inputs,
    ]);
    if (parts > 1) finishLinear(out, sums, { rows, columns: outputs }, { bias, gelu });
  }

  /** Makes some of the weight's rows dense at a time. */
  function unpackedProduct(problem: MatrixProblem): void {
    const { out, x, matrix, compute, rows, bias, gelu } = problem;
    const { format, layout, outFeatures: outputs } = matrix;
    const denseRowBytes = layout.inputs * dtypeBytes(compute);
    const sliceRows = Math.min(outputs, Math.max(1, Math.floor(SLICE_BYTES / denseRowBytes)));
    const hasPass = bias !== 0n || gelu;
    // Sums are rounded to the type of `out` once, behind the pass.
    const sumsInOut = !hasPass || out.dtype === "f32";
    const inputBytes = inputs.bytes(x, matrix, compute, rows);
    const sumBytes = sumsInOut ? 0 : 4 * rows * outputs;
    const denseBytes = sliceRows * denseRowBytes;
    const workspace = context.workspace(inputBytes + denseBytes + sumBytes);
    const input = inputs.prepare(x, matrix, compute, { rows, workspace });
    const sums = sumsInOut
      ? { address: out.address, rowStride: out.rowStride, dtype: weightDtype(out.dtype) }
      : {
        address: workspace + BigInt(inputBytes + denseBytes),
        rowStride: outputs,
        dtype: "f32" as const,
      };
    const dense = workspace + BigInt(inputBytes);
    for (let row = 0; row < outputs; row += sliceRows) {
      const count = Math.min(sliceRows, outputs - row);
      unpack(format, compute).launch(inputThreads(count, layout), [
        dense,
        matrix.values + BigInt(row * rowBytes(matrix)),
        matrix.segments + BigInt(row * WORD_BYTES * rowSegments(matrix)),
        segmentShift(matrix),
        matrix.zeroMask,
        layout.inputs,
      ]);
      const target = { ...sums, address: sums.address + BigInt(row * dtypeBytes(sums.dtype)) };
      matrixProduct(target, input, {
        format: compute,
        address: dense,
        outFeatures: count,
        inFeatures: input.columns,
        rowStride: layout.inputs,
      }, rows);
    }
    if (hasPass) finishLinear(out, sums, { rows, columns: outputs }, { bias, gelu });
  }

  function skinnyProduct(problem: MatrixProblem, gated: boolean): void {
    const { x, matrix, compute, rows } = problem;
    const workspace = context.workspace(inputs.bytes(x, matrix, compute, rows));
    const input: QuantizedInput = inputs.prepare(x, matrix, compute, { rows, workspace });
    skinny({ ...problem, input, gated });
  }

  return {
    linear(out, x, weight, rows, { bias, gelu = false }) {
      const { compute, matrices } = weight;
      for (const matrix of matrices) {
        const skipped = matrix.firstOutput * dtypeBytes(out.dtype);
        const problem: MatrixProblem = {
          out: {
            address: out.address + BigInt(skipped),
            rowStride: out.rowStride,
            dtype: out.dtype,
          },
          x,
          matrix,
          compute,
          rows,
          bias: bias === undefined ? 0n : bias.address + BigInt(4 * matrix.firstOutput),
          gelu,
        };
        if (rows <= MAX_SKINNY_ROWS) skinnyProduct(problem, false);
        else if (compute !== "f32" && rows <= MAX_PACKED_ROWS) packedProduct(problem);
        else unpackedProduct(problem);
      }
    },

    gatedLinear(out, x, weight, rows, bias) {
      const { compute, matrices } = weight;
      if (rows > MAX_SKINNY_ROWS || matrices.length > 1) return false;
      const [matrix] = matrices;
      const address = bias?.address ?? 0n;
      skinnyProduct({ out, x, matrix, compute, rows, bias: address, gelu: false }, true);
      return true;
    },
  };
}
