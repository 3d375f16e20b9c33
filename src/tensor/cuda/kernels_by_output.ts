/**
 * Products exist for several types of weights, each with several types of results.
 * @module
 */
import type { DType, WeightDType } from "../dtype.ts";
import type { CudaContext } from "./context.ts";
import type { CudaKernel, KernelParameter } from "./kernel.ts";

/**
 * Finds `<name>_<weight's type>_<result's type>` in `native/cuda`, once for each pair that is asked
 * for. The kernel may use `sharedBytes` of shared memory.
 */
export function kernelsByOutput(
  context: CudaContext,
  name: string,
  parameters: readonly KernelParameter[],
  sharedBytes: number,
): (weight: WeightDType, out: DType) => CudaKernel {
  const kernels = new Map<WeightDType, Map<DType, CudaKernel>>();
  return (weight, out) => {
    let ofWeight = kernels.get(weight);
    if (ofWeight === undefined) kernels.set(weight, ofWeight = new Map<DType, CudaKernel>());
    let kernel = ofWeight.get(out);
    if (kernel === undefined) {
      kernel = context.kernel(`${name}_${weight}_${out}`, parameters, { sharedBytes });
      ofWeight.set(out, kernel);
    }
    return kernel;
  };
}

/** Throws RangeError unless a product with weights of type `weight` can be written as `out`. */
export function checkOutputDtype(kernel: string, out: DType, weight: WeightDType): void {
  if (out !== "f32" && out !== weight) {
    throw new RangeError(
      `Cannot run ${kernel} on a GPU as out must be f32 or ${weight} as the weight is: it is ${out}`,
    );
  }
}
