/**
 * Floats between the types in which they are stored and the one in which JavaScript computes.
 * @module
 */
import type { HostTensor } from "../../layers/weight_source.ts";
import { dtypeBytes, type WeightDType } from "../../tensor/dtype.ts";
import { weightDtype } from "../../tensor/linear_kernels.ts";
import { encodeWeights, type WeightBits } from "../random_weights.ts";

/** All elements of a tensor of floats, which must lie in memory. */
export function readFloats(tensor: HostTensor): Float32Array<ArrayBuffer> {
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  const dtype = weightDtype(tensor.dtype);
  const pointer = Deno.UnsafePointer.create(tensor.address)!;
  const bytes = Deno.UnsafePointerView.getArrayBuffer(pointer, count * dtypeBytes(dtype));
  if (dtype === "f32") return new Float32Array(bytes).slice();
  return dtype === "f16" ? Float32Array.from(new Float16Array(bytes)) : widenBf16(bytes);
}

/** `values` in the type `dtype`, rounded to nearest, ties to even. */
export function encodeFloats(values: Float32Array, dtype: WeightDType): WeightBits {
  return encodeWeights(Float64Array.from(values), dtype);
}

/** `values` as they are when they come back from being stored in `dtype`. */
export function roundFloats(
  values: Float32Array<ArrayBuffer>,
  dtype: WeightDType,
): Float32Array<ArrayBuffer> {
  if (dtype === "f32") return values;
  if (dtype === "f16") return Float32Array.from(new Float16Array(values));
  return widenBf16(encodeFloats(values, dtype).buffer);
}

/** The rows and columns of `values` `[rows, columns]` exchanged. */
export function transpose(
  values: Float32Array,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      out[column * rows + row] = values[row * columns + column];
    }
  }
  return out;
}

function widenBf16(bytes: ArrayBuffer): Float32Array<ArrayBuffer> {
  const halves = new Uint16Array(bytes);
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i] << 16;
  return new Float32Array(words.buffer);
}
