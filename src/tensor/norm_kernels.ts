/**
 * The kernels that normalise rows.
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** Normalisation, each row by itself. `x` and `residual` are f32, `out` of the activations' type. */
export interface NormKernels {
  /** `out = x / rms(x) * weight`; with `residual`, first `residual += x`, then the norm of residual. */
  rmsNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: { epsilon: number; residual?: Tensor },
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
}
