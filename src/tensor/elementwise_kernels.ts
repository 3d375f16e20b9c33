/**
 * The kernels that treat each element by itself.
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** Activations, sums and row copies. */
export interface ElementwiseKernels {
  /** `out[t, i] = silu(x[t, i]) * x[t, size + i]`. */
  siluAndMul(out: Tensor, x: Tensor, rows: number, size: number): void;

  /** GELU in its tanh form ("gelu_new"), `out` may be `x`. */
  gelu(out: Tensor, x: Tensor, rows: number, size: number): void;

  /** `out = a + b` over `count` contiguous elements; `out` may be `a`. */
  add(out: Tensor, a: Tensor, b: Tensor, count: number): void;

  /** `x[t, o] += bias[o]`: a row-parallel layer's bias, once, after the sum over ranks. */
  addBias(x: Tensor, bias: Tensor, rows: number): void;

  /** `out[i] = x[index[i]]`, rows of `size` elements. */
  gatherRows(out: Tensor, x: Tensor, index: Tensor, rows: number, size: number): void;
}
