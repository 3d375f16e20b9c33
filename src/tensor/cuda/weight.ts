/**
 * What kernels take as weights on a GPU.
 * @module
 */
import type { DType, WeightDType } from "../dtype.ts";
import type { LinearWeight } from "../linear_kernels.ts";
import { CudaLinearWeight } from "./linear_weight.ts";
import { CudaQuantizedWeight } from "./quantized_weight.ts";

/** A weight of this backend; throws TypeError for one that another device made. */
export function cudaWeight(weight: LinearWeight): CudaLinearWeight | CudaQuantizedWeight {
  if (weight instanceof CudaLinearWeight || weight instanceof CudaQuantizedWeight) return weight;
  throw new TypeError("Cannot run a CUDA kernel as the weight belongs to another device");
}

/** The rows of a weight as numbers; throws TypeError when a quantised one has not kept them. */
export function denseRows(weight: LinearWeight): CudaLinearWeight {
  const known = cudaWeight(weight);
  const dense = known instanceof CudaQuantizedWeight ? known.table : known;
  if (dense !== null) return dense;
  throw new TypeError(
    "Cannot run a CUDA kernel as the weight is quantised: its rows were not kept",
  );
}

/** Type of the rows that a weight is multiplied with. */
export function computeDtype(weight: CudaLinearWeight | CudaQuantizedWeight): WeightDType {
  return weight instanceof CudaQuantizedWeight ? weight.compute : weight.format;
}

/** Throws RangeError unless a product with `weight` can be written as `out`. */
export function checkOutputDtype(
  kernel: string,
  out: DType,
  weight: CudaLinearWeight | CudaQuantizedWeight,
): void {
  const compute = computeDtype(weight);
  if (out !== "f32" && out !== compute) {
    throw new RangeError(
      `Cannot run ${kernel} on a GPU as out must be f32 or ${compute} as the weight is: it is ${out}`,
    );
  }
}
