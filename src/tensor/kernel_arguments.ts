/**
 * Checks of what reaches a kernel: a wrong size is an error here and a memory fault behind FFI.
 * @module
 */
import type { DType, WeightDType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** Largest size, stride or count that a kernel takes (32-bit signed). */
export const MAX_KERNEL_INTEGER = 0x7fffffff;

/** Throws RangeError unless `value` is an integer in [0, 2^31). */
export function checkCount(kernel: string, name: string, value: number): void {
  // The bitwise form is true for just these integers, and costs next to nothing.
  if (value >>> 0 !== value || value > MAX_KERNEL_INTEGER) {
    throw new RangeError(`Cannot run ${kernel} as ${name} is not a count: ${value}`);
  }
}

/**
 * Throws RangeError unless `tensor` holds `rows` rows of `columns` elements of `dtype` (all dimensions
 * but the first folded into the columns).
 */
export function checkMatrix(
  kernel: string,
  name: string,
  tensor: Tensor,
  rows: number,
  columns: number,
  dtype: DType = "f32",
): void {
  checkCount(kernel, "the number of rows", rows);
  checkCount(kernel, "the number of columns", columns);
  const { shape } = tensor;
  let width = 1;
  for (let i = 1; i < shape.length; i++) width *= shape[i];
  if (
    tensor.dtype !== dtype || rows > shape[0] || columns > width ||
    tensor.rowStride > MAX_KERNEL_INTEGER
  ) {
    throw new RangeError(
      `Cannot run ${kernel} as ${name} must hold ${dtype} [${rows}, ${columns}]: it is ${tensor.dtype} [${shape}]`,
    );
  }
}

const ACTIVATION_DTYPES: ReadonlySet<DType> = new Set<WeightDType>(["f32", "f16", "bf16"]);

/** The same, for a matrix of any type that activations can have (`Device.activationDtype`). */
export function checkActivations(
  kernel: string,
  name: string,
  tensor: Tensor,
  rows: number,
  columns: number,
): void {
  const isActivation = ACTIVATION_DTYPES.has(tensor.dtype);
  checkMatrix(kernel, name, tensor, rows, columns, isActivation ? tensor.dtype : "f32");
}

/** Throws RangeError unless both tensors are of one type. */
export function checkSameDtype(kernel: string, out: Tensor, x: Tensor): void {
  if (out.dtype !== x.dtype) {
    throw new RangeError(
      `Cannot run ${kernel} as out and x must be of one type: they are ${out.dtype} and ${x.dtype}`,
    );
  }
}

/** Throws RangeError unless `tensor` holds `length` contiguous elements of `dtype`. */
export function checkVector(
  kernel: string,
  name: string,
  tensor: Tensor,
  length: number,
  dtype: DType = "f32",
): void {
  checkCount(kernel, "the number of elements", length);
  const { shape } = tensor;
  let size = 1;
  let rowSize = 1;
  for (let i = 0; i < shape.length; i++) {
    size *= shape[i];
    if (i > 0) rowSize *= shape[i];
  }
  const contiguous = shape[0] <= 1 || tensor.rowStride === rowSize || length <= rowSize;
  if (tensor.dtype !== dtype || length > size || !contiguous) {
    throw new RangeError(
      `Cannot run ${kernel} as ${name} must hold ${length} contiguous ${dtype}: it is ${tensor.dtype} [${shape}]`,
    );
  }
}

/** Throws RangeError unless `x` holds `rows` rows of `numHeads * headDim` f32. */
export function checkHeads(
  kernel: string,
  x: Tensor,
  rows: number,
  shape: { numHeads: number; headDim: number },
): void {
  checkCount(kernel, "numHeads", shape.numHeads);
  checkCount(kernel, "headDim", shape.headDim);
  checkMatrix(kernel, "x", x, rows, shape.numHeads * shape.headDim);
}
