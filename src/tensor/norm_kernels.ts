/**
 * The kernels that normalise rows.
 * @module
 */
import { checkActivations, checkMatrix, checkVector } from "./kernel_arguments.ts";
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

/** `kernels` behind checks of their arguments, which throw RangeError. */
export function checkedNormKernels(kernels: NormKernels): NormKernels {
  return {
    rmsNorm(out, x, weight, rows, options) {
      checkNorm("rmsNorm", { out, x, weight, residual: options.residual }, rows);
      kernels.rmsNorm(out, x, weight, rows, options);
    },

    layerNorm(out, x, weight, bias, rows, options) {
      checkVector("layerNorm", "bias", bias, weight.size);
      checkNorm("layerNorm", { out, x, weight, residual: options.residual }, rows);
      kernels.layerNorm(out, x, weight, bias, rows, options);
    },
  };
}

function checkNorm(
  kernel: string,
  tensors: { out: Tensor; x: Tensor; weight: Tensor; residual: Tensor | undefined },
  rows: number,
): void {
  const { out, x, weight, residual } = tensors;
  const { size } = weight;
  checkVector(kernel, "weight", weight, size);
  checkActivations(kernel, "out", out, rows, size);
  checkMatrix(kernel, "x", x, rows, size);
  if (residual !== undefined) checkMatrix(kernel, "residual", residual, rows, size);
}
