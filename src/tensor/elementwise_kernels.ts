/**
 * The kernels that treat each element by itself.
 * @module
 */
import { checkActivations, checkMatrix, checkSameDtype, checkVector } from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Activations, sums and row copies. `siluAndMul` and `gelu` work in the activations' type, the others
 * in f32.
 */
export interface ElementwiseKernels {
  /** `out[t, i] = silu(x[t, i]) * x[t, size + i]`. */
  siluAndMul(out: Tensor, x: Tensor, rows: number, size: number): void;

  /** GELU in its tanh form ("gelu_new"), `out` may be `x`. */
  gelu(out: Tensor, x: Tensor, rows: number, size: number): void;

  /** `out = a + b` over `count` contiguous elements; `out` may be `a`. */
  add(out: Tensor, a: Tensor, b: Tensor, count: number): void;

  /** `x[t, o] += bias[o]`: a row-parallel layer's bias, once, after the sum over ranks. */
  addBias(x: Tensor, bias: Tensor, rows: number): void;

  /**
   * `out[i] = x[index[i]]`, rows of `size` elements. An index outside `x` throws RangeError on a device
   * that finishes with the call, and gives a row of NaN on one that runs behind.
   */
  gatherRows(out: Tensor, x: Tensor, index: Tensor, rows: number, size: number): void;
}

/** `kernels` behind checks of their arguments, which throw RangeError. */
export function checkedElementwiseKernels(kernels: ElementwiseKernels): ElementwiseKernels {
  return {
    siluAndMul(out, x, rows, size) {
      checkActivations("siluAndMul", "out", out, rows, size);
      checkActivations("siluAndMul", "x", x, rows, 2 * size);
      checkSameDtype("siluAndMul", out, x);
      kernels.siluAndMul(out, x, rows, size);
    },

    gelu(out, x, rows, size) {
      checkActivations("gelu", "out", out, rows, size);
      checkActivations("gelu", "x", x, rows, size);
      checkSameDtype("gelu", out, x);
      kernels.gelu(out, x, rows, size);
    },

    add(out, a, b, count) {
      checkVector("add", "out", out, count);
      checkVector("add", "a", a, count);
      checkVector("add", "b", b, count);
      kernels.add(out, a, b, count);
    },

    addBias(x, bias, rows) {
      checkVector("addBias", "bias", bias, bias.size);
      checkMatrix("addBias", "x", x, rows, bias.size);
      kernels.addBias(x, bias, rows);
    },

    gatherRows(out, x, index, rows, size) {
      checkMatrix("gatherRows", "out", out, rows, size);
      checkMatrix("gatherRows", "x", x, x.shape[0], size);
      checkVector("gatherRows", "index", index, rows, "i32");
      kernels.gatherRows(out, x, index, rows, size);
    },
  };
}
