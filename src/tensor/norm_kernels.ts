/**
 * The kernels that normalise rows.
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** Normalisation, each row by itself. */
export interface NormKernels {
  /** `out = x / rms(x) * weight`; with `residual`, first `residual += x`, then the norm of residual. */
  rmsNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void;

  /** RMSNorm in place over each head of `x` (`[rows, heads * headDim]`, any row stride). */
  headRmsNorm(
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; numHeads: number; headDim: number },
  ): void;

  /** `out = (x - mean) / sqrt(var + eps) * weight + bias`; `residual` as in {@linkcode rmsNorm}. */
  layerNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
  ): void;

  /** Row-wise softmax over `size` columns. */
  softmax(out: Tensor, x: Tensor, rows: number, size: number): void;
}
