/**
 * What the CPU's kernels ask for beyond the contracts.
 * @module
 */
import type { Tensor } from "../tensor.ts";

/** Throws RangeError unless the activations in `tensor` are f32. */
export function checkCpuActivations(kernel: string, tensor: Tensor): void {
  if (tensor.dtype !== "f32") {
    throw new RangeError(
      `Cannot run ${kernel} on the CPU as activations must be f32 there: they are ${tensor.dtype}`,
    );
  }
}
