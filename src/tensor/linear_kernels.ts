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
  /**
   * Whether it lies in a mapped file, so that a device that keeps a copy may give its pages back: they
   * are read from the file again when they are asked for.
   */
  readonly mapped?: boolean;
}

/**
 * A slice of a stored weight whose elements are integers, with a scale (and perhaps a zero) for each
 * group of input features: `w[o, k] = (q[o, k] - zero[group(k), o]) * scale[group(k), o]`. Addresses are
 * those of whole stored tensors, so that a slice may begin and end anywhere.
 */
export interface QuantizedMatrix {
  /** Width of an element. */
  readonly dtype: "int8" | "int4";
  /**
   * How elements and zeros are packed.
   *
   * - `awq` (GEMM layout): elements i32 `[storedColumns, storedRows / 8]`, an i32 holding eight outputs in
   *   the order 0, 2, 4, 6, 1, 3, 5, 7 from its lowest bits on; zeros in the same way.
   * - `gptq`: elements i32 `[storedColumns * bits / 32, storedRows]`, an i32 holding consecutive inputs from
   *   its lowest bits on; zeros i32 `[groups, storedRows * bits / 32]`, holding consecutive outputs.
   * - `signed`: i8 `[storedRows, storedColumns]`, no zeros.
   */
  readonly packing: "awq" | "gptq" | "signed";
  /** Host address of the elements. */
  readonly values: bigint;
  /** Host address and type of the scales: `[groups, storedRows]`. */
  readonly scales: { readonly address: bigint; readonly dtype: WeightDType };
  /** Host address of the zeros; null where a zero is 0 (`signed`) or half the range. */
  readonly zeros: bigint | null;
  /** What is added to a stored zero: 1 in GPTQ's first format, else 0. */
  readonly zeroOffset: 0 | 1;
  /** Host address of the group of each input, i32 `[storedColumns]`; null: `k / groupSize` rounded down. */
  readonly groupOfInput: bigint | null;
  /** Input features of a group. */
  readonly groupSize: number;
  /** Output features of the stored tensor. */
  readonly storedRows: number;
  /** Input features of the stored tensor. */
  readonly storedColumns: number;
  /** First output feature of the slice. */
  readonly firstRow: number;
  /** Output features of the slice. */
  readonly rows: number;
  /** First input feature of the slice. */
  readonly firstColumn: number;
  /** Input features of the slice. */
  readonly columns: number;
  /** Whether the elements lie in a mapped file, as in {@linkcode HostMatrix}. */
  readonly mapped?: boolean;
}

/** The slice of a {@linkcode QuantizedMatrix} that is all of the stored tensor. */
export function wholeSlice(
  rows: number,
  columns: number,
): Pick<
  QuantizedMatrix,
  "storedRows" | "storedColumns" | "firstRow" | "rows" | "firstColumn" | "columns"
> {
  const [storedRows, storedColumns] = [rows, columns];
  return { storedRows, storedColumns, firstRow: 0, rows, firstColumn: 0, columns };
}

/** A part of a weight, in host memory. */
export type WeightPart = HostMatrix | QuantizedMatrix;

/** Whether a part holds integers. */
export function isQuantized(part: WeightPart): part is QuantizedMatrix {
  return part.dtype === "int8" || part.dtype === "int4";
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

/** How a device stores a weight. */
export type WeightFormat = WeightDType | "int8" | "int4";

/** Options of {@linkcode LinearKernels.linearWeight}. */
export interface WeightOptions {
  /** Quantises dense parts while they are loaded. Parts that are quantised already stay as they are. */
  readonly quantization?: "int8" | "int4";
  /**
   * Input features per fixed block of the sum (NUMERICS.md 1): blocks are summed by one binary
   * tree. 0 or absent: a single block.
   */
  readonly blockSize?: number;
  /** What the weight serves: products (the default), look-ups of rows (`embedding`), or both. */
  readonly use?: "product" | "table" | "both";
}

/**
 * Weight of a linear layer, `[outFeatures, inFeatures]`, as a device keeps it. On CPU it may lie in
 * the mapped checkpoint; only the device that made it looks at its segments.
 */
export interface LinearWeight extends Disposable {
  /** Storage format. */
  readonly format: WeightFormat;
  /** Rows of the matrix. */
  readonly outFeatures: number;
  /** Columns of the matrix. */
  readonly inFeatures: number;
}

/** Options of {@linkcode LinearKernels.linear}. */
export interface LinearOptions {
  /** `f32 [outFeatures]`, added once. */
  readonly bias?: Tensor;
  /** Applied to the sum with its bias. `gelu` is the tanh form ("gelu_new"). */
  readonly activation?: "gelu";
}

/** Options of {@linkcode LinearKernels.gatedLinear}. */
export interface GatedLinearOptions {
  /** `f32 [2 * size]`, added once. */
  readonly bias?: Tensor;
  /** `[rows, 2 * size]`; may be written. */
  readonly scratch: Tensor;
}

/** Weights as the device keeps them, and products with them. */
export interface LinearKernels {
  /**
   * Makes a weight of row-stacked parts. `format` is the type in which it is multiplied; dense parts are
   * stored in it too, unless they are quantised. In `f32` a CPU takes activations as they are; in other
   * formats it may round them (docs/NUMERICS.md 2). Parts are dense or quantised, never both.
   */
  linearWeight(
    parts: readonly WeightPart[],
    format: WeightDType,
    options?: WeightOptions,
  ): LinearWeight;

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
   * up projection's.
   */
  gatedLinear(
    out: Tensor,
    x: Tensor,
    weight: LinearWeight,
    rows: number,
    options: GatedLinearOptions,
  ): void;
}

/** `kernels` behind checks of their arguments, which throw RangeError, TypeError for a wrong type. */
export function checkedLinearKernels(kernels: LinearKernels): LinearKernels {
  return {
    linearWeight(parts, format, options) {
      checkParts(parts);
      checkCount("linearWeight", "blockSize", options?.blockSize ?? 0);
      return kernels.linearWeight(parts, format, options);
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
      checkActivations("linear", "out", out, rows, weight.outFeatures);
      checkActivations("linear", "x", x, rows, weight.inFeatures);
      checkBias("linear", options?.bias, weight);
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
      checkActivations("gatedLinear", "out", out, rows, outFeatures / 2);
      checkActivations("gatedLinear", "x", x, rows, weight.inFeatures);
      checkBias("gatedLinear", bias, weight);
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

function checkBias(kernel: string, bias: Tensor | undefined, weight: LinearWeight): void {
  if (bias !== undefined) checkVector(kernel, "bias", bias, weight.outFeatures);
}

function checkParts(parts: readonly WeightPart[]): void {
  if (parts.length === 0) throw new RangeError("Cannot make a weight as it has no parts");
  if (parts.some(isQuantized) && !parts.every(isQuantized)) {
    throw new TypeError("Cannot make a weight as some of its parts are quantised and some are not");
  }
  for (const part of parts) {
    if (part.columns !== parts[0].columns) {
      throw new RangeError(
        `Cannot stack weight parts as their columns differ: ${
          parts[0].columns
        } and ${part.columns}`,
      );
    }
    if (isQuantized(part)) checkQuantizedPart(part);
    else checkDensePart(part);
  }
  const outFeatures = parts.reduce((sum, { rows }) => sum + rows, 0);
  if (outFeatures > MAX_KERNEL_INTEGER) {
    throw new RangeError(`Cannot make a weight as it has too many rows: ${outFeatures}`);
  }
}

function checkDensePart(part: HostMatrix): void {
  weightDtype(part.dtype);
  const { rows, rowStride, transposed = false } = part;
  checkSizes([rows, part.columns, rowStride]);
  const storedColumns = transposed ? rows : part.columns;
  if (rowStride < storedColumns) {
    throw new RangeError(
      `Cannot make a weight as its rows overlap: stride ${rowStride} for ${storedColumns} elements`,
    );
  }
}

function checkQuantizedPart(part: QuantizedMatrix): void {
  const { storedRows, storedColumns, firstRow, rows, firstColumn, columns, groupSize } = part;
  checkSizes([storedRows, storedColumns, firstRow, rows, firstColumn, columns, groupSize]);
  if (groupSize === 0) throw new RangeError("Cannot make a weight as its groups are empty");
  if (firstRow + rows > storedRows || firstColumn + columns > storedColumns) {
    throw new RangeError(
      `Cannot make a weight as its slice passes the end of [${storedRows}, ${storedColumns}]: ` +
        `rows ${firstRow} to ${firstRow + rows}, columns ${firstColumn} to ${
          firstColumn + columns
        }`,
    );
  }
  weightDtype(part.scales.dtype);
}

function checkSizes(sizes: readonly number[]): void {
  if (sizes.some((size) => !Number.isInteger(size) || size < 0 || size > MAX_KERNEL_INTEGER)) {
    throw new RangeError(`Cannot make a weight as a part's size is not a count: ${sizes}`);
  }
}
