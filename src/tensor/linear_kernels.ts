/**
 * Weights, and the kernels that multiply by them.
 * @module
 */
import type { DType, WeightDType } from "./dtype.ts";
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
