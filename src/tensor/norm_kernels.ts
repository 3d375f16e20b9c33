/**
 * The kernels that normalise rows.
 * @module
 */
import { checkActivations, checkMatrix, checkVector } from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

/** Options of a norm. */
export interface NormOptions {
  /** Added to the mean square or variance. */
  readonly epsilon: number;
  /** f32, to which `x` is added first. */
  readonly residual?: Tensor;
}

/** Normalisation, each row by itself. `x` and `residual` are f32, `out` of the activations' type. */
export interface NormKernels {
  /** `out = x / rms(x) * weight`; with `residual`, first `residual += x`, then the norm of residual. */
  rmsNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    rows: number,
    options: NormOptions,
  ): void;

  /** `out = (x - mean) / sqrt(var + eps) * weight + bias`; `residual` as in {@linkcode rmsNorm}. */
  layerNorm(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: number,
    options: NormOptions,
  ): void;
}

/** `kernels` behind checks of their arguments, which throw RangeError. */
export function checkedNormKernels(kernels: NormKernels): NormKernels {
  return {
    rmsNorm(out, x, weight, rows, options) {
      checkNorm("rmsNorm", out, x, weight, rows, options.residual);
      kernels.rmsNorm(out, x, weight, rows, options);
    },

    layerNorm(out, x, weight, bias, rows, options) {
      checkVector("layerNorm", "bias", bias, weight.size);
      checkNorm("layerNorm", out, x, weight, rows, options.residual);
      kernels.layerNorm(out, x, weight, bias, rows, options);
    },
  };
}

function checkNorm(
  kernel: string,
  out: Tensor,
  x: Tensor,
  weight: Tensor,
  rows: number,
  residual: Tensor | undefined,
): void {
  const { size } = weight;
  checkVector(kernel, "weight", weight, size);
  checkActivations(kernel, "out", out, rows, size);
  checkMatrix(kernel, "x", x, rows, size);
  if (residual !== undefined) checkMatrix(kernel, "residual", residual, rows, size);
}
