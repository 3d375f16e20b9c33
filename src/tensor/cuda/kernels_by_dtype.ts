/**
 * Kernels that exist for several types of elements.
 * @module
 */
import type { DType } from "../dtype.ts";
import type { CudaContext } from "./context.ts";
import type { CudaKernel, KernelParameter } from "./kernel.ts";

/**
 * Finds `<name>_<dtype>` in `native/cuda`, once for each type that is asked for. The kernel throws
 * NativeError when there is none for the type.
 */
export function kernelsByDtype(
  context: CudaContext,
  name: string,
  parameters: readonly KernelParameter[],
): (dtype: DType) => CudaKernel {
  const kernels = new Map<DType, CudaKernel>();
  return (dtype) => {
    let kernel = kernels.get(dtype);
    if (kernel === undefined) {
      kernel = context.kernel(`${name}_${dtype}`, parameters);
      kernels.set(dtype, kernel);
    }
    return kernel;
  };
}
