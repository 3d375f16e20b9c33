/**
 * Products exist for several types of weights, each with several types of results, or of rows that are
 * multiplied.
 * @module
 */
import type { DType } from "../dtype.ts";
import type { WeightFormat } from "../linear_kernels.ts";
import type { CudaContext } from "./context.ts";
import type { CudaKernel, KernelParameter } from "./kernel.ts";

/**
 * Finds `<name>_<weight's type>_<other type>` in `native/cuda`, once for each pair that is asked for.
 * The kernel may use `sharedBytes` of shared memory.
 */
export function kernelsByPair(
  context: CudaContext,
  name: string,
  parameters: readonly KernelParameter[],
  sharedBytes: number,
): (weight: WeightFormat, other: DType) => CudaKernel {
  const kernels = new Map<WeightFormat, Map<DType, CudaKernel>>();
  return (weight, other) => {
    let ofWeight = kernels.get(weight);
    if (ofWeight === undefined) kernels.set(weight, ofWeight = new Map<DType, CudaKernel>());
    let kernel = ofWeight.get(other);
    if (kernel === undefined) {
      kernel = context.kernel(`${name}_${weight}_${other}`, parameters, { sharedBytes });
      ofWeight.set(other, kernel);
    }
    return kernel;
  };
}
