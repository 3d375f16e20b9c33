/**
 * Weights, and the kernels that multiply by them.
 * @module
 */
import type { DType, WeightDType } from "./dtype.ts";
import {
  checkActivations,
  checkCount,
  checkMatrix,
  checkVector,
  MAX_KERNEL_INTEGER,
} from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

/** A matrix slice in host memory (usually a mapped checkpoint). */
export interface HostMatrix {
  /** Host address of element [0, 0]. */
  readonly address: bigint;
  /** Type of the stored elements. */
  readonly dtype: DType;
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly columns: number;
  /** Elements between the starts of consecutive stored rows. */
  readonly rowStride: number;
  /** True when stored as [columns, rows] (GPT-2's Conv1D); `rowStride` is then that of the stored rows. */
  readonly transposed?: boolean;
}

/** A vector slice in host memory. */
export interface HostVector {
  /** Host address of element 0. */
  readonly address: bigint;
  /** Type of the stored elements. */
  readonly dtype: DType;
  /** Number of elements. */
  readonly length: number;
}

/**
 * Weight of a linear layer, `[outFeatures, inFeatures]`, as a device keeps it. On CPU it may lie in
 * the mapped checkpoint; only the device that made it looks at its segments.
 */
export interface LinearWeight extends Disposable {
  /** Storage format. */
  readonly format: WeightDType;
  /** Rows of the matrix. */
  readonly outFeatures: number;
  /** Columns of the matrix. */
  readonly inFeatures: number;
}

/** Options of {@linkcode LinearKernels.linear}. */
export interface LinearOptions {
  /** `f32 [outFeatures]`, added once. */
  readonly bias?: Tensor;
  /**
   * Input features per fixed block of the sum (NUMERICS.md 1): blocks are summed by one binary
   * tree. 0 or absent: a single block.
   */
  readonly blockSize?: number;
  /** Applied to the sum with its bias. `gelu` is the tanh form ("gelu_new"). */
  readonly activation?: "gelu";
}

/** Weights as the device keeps them, and products with them. */
export interface LinearKernels {
  /** Makes a weight of row-stacked parts in the wanted format; CPU keeps mapped parts where they lie. */
  linearWeight(parts: readonly HostMatrix[], format: WeightDType): LinearWeight;

  /** Copies a vector to the device as `f32`. */
  vector(source: HostVector): Tensor;

  /** `out[t] = table[ids[t] - firstId]` in f32, or zeros where the id lies outside the table. */
  embedding(out: Tensor, ids: Tensor, table: LinearWeight, rows: number, firstId: number): void;

  /**
   * `out[t, o] = sum_k x[t, k] weight[o, k] (+ bias[o])`; `out` may be a column view. `x` is of the
   * activations' type, `out` of that or f32.
   */
  linear(out: Tensor, x: Tensor, weight: LinearWeight, rows: number, options?: LinearOptions): void;

  /**
   * The first half of a gated feed-forward layer: `out[t, i] = silu(g[t, i]) * u[t, i]` where
   * `[g, u] = x weight^T (+ bias)`: `weight` `[2 * size, inFeatures]` holds the gate's rows, then the
   * up projection's. `scratch` `[rows, 2 * size]` may be written.
   */
  gatedLinear(
    out: Tensor,
    x: Tensor,
    weight: LinearWeight,
    rows: number,
    options: { readonly bias?: Tensor; readonly scratch: Tensor },
  ): void;
}

/** `kernels` behind checks of their arguments, which throw RangeError, TypeError for a wrong type. */
export function checkedLinearKernels(kernels: LinearKernels): LinearKernels {
  return {
    linearWeight(parts, format) {
      checkParts(parts);
      return kernels.linearWeight(parts, format);
    },

    vector(source) {
      weightDtype(source.dtype);
      checkCount("vector", "its length", source.length);
      return kernels.vector(source);
    },

    embedding(out, ids, table, rows, firstId) {
      checkMatrix("embedding", "out", out, rows, table.inFeatures);
      checkVector("embedding", "ids", ids, rows, "i32");
      checkCount("embedding", "firstId", firstId);
      kernels.embedding(out, ids, table, rows, firstId);
    },

    linear(out, x, weight, rows, options) {
      const { bias, blockSize = 0 } = options ?? {};
      checkProduct("linear", { out, x, bias }, weight, rows, weight.outFeatures);
      checkCount("linear", "blockSize", blockSize);
      kernels.linear(out, x, weight, rows, options);
    },

    gatedLinear(out, x, weight, rows, options) {
      const { bias, scratch } = options;
      const { outFeatures } = weight;
      if (outFeatures % 2 !== 0) {
        throw new RangeError(
          `Cannot run gatedLinear as the weight must hold two matrices of one size: it has ${outFeatures} rows`,
        );
      }
      checkProduct("gatedLinear", { out, x, bias }, weight, rows, outFeatures / 2);
      checkMatrix("gatedLinear", "scratch", scratch, rows, outFeatures, out.dtype);
      kernels.gatedLinear(out, x, weight, rows, options);
    },
  };
}

/** `dtype`, as one that weights can have; throws TypeError when it is not. */
export function weightDtype(dtype: DType): WeightDType {
  if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16") {
    throw new TypeError(`Cannot read a weight as its type is not f32, f16 or bf16: ${dtype}`);
  }
  return dtype;
}

function checkProduct(
  kernel: string,
  tensors: { out: Tensor; x: Tensor; bias: Tensor | undefined },
  weight: LinearWeight,
  rows: number,
  outputs: number,
): void {
  const { out, x, bias } = tensors;
  checkActivations(kernel, "out", out, rows, outputs);
  checkActivations(kernel, "x", x, rows, weight.inFeatures);
  if (bias !== undefined) checkVector(kernel, "bias", bias, weight.outFeatures);
}

function checkParts(parts: readonly HostMatrix[]): void {
  if (parts.length === 0) throw new RangeError("Cannot make a weight as it has no parts");
  for (const part of parts) checkPart(part, parts[0].columns);
  const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
  if (outFeatures > MAX_KERNEL_INTEGER) {
    throw new RangeError(`Cannot make a weight as it has too many rows: ${outFeatures}`);
  }
}

function checkPart(part: HostMatrix, columns: number): void {
  weightDtype(part.dtype);
  const { rows, rowStride, transposed = false } = part;
  const storedColumns = transposed ? rows : part.columns;
  const sizes = [rows, part.columns, rowStride];
  if (sizes.some((size) => !Number.isInteger(size) || size < 0 || size > MAX_KERNEL_INTEGER)) {
    throw new RangeError(`Cannot make a weight as a part's size is not a count: ${sizes}`);
  }
  if (part.columns !== columns) {
    throw new RangeError(
      `Cannot stack weight parts as their columns differ: ${columns} and ${part.columns}`,
    );
  }
  if (rowStride < storedColumns) {
    throw new RangeError(
      `Cannot make a weight as its rows overlap: stride ${rowStride} for ${storedColumns} elements`,
    );
  }
}
