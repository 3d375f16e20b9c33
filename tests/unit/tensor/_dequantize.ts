/** What a quantised matrix stands for, element by element, as `QuantizedMatrix` says it. */
import type { WeightDType } from "../../../src/tensor/dtype.ts";
import type { QuantizedMatrix } from "../../../src/tensor/linear_kernels.ts";

/** Places of eight outputs in an i32 of AWQ. */
const AWQ_SHIFT = [0, 4, 1, 5, 2, 6, 3, 7];

/** The slice as `[rows, columns]`. */
export function dequantize(matrix: QuantizedMatrix): Float64Array {
  const { packing, zeroOffset, groupSize, storedRows, storedColumns } = matrix;
  const bits = matrix.dtype === "int8" ? 8 : 4;
  const mask = 2 ** bits - 1;
  const perWord = 32 / bits;
  const count = storedRows * storedColumns;
  const groupOfInput = matrix.groupOfInput === null
    ? Int32Array.from({ length: storedColumns }, (_, k) => Math.floor(k / groupSize))
    : new Int32Array(bytesAt(matrix.groupOfInput, storedColumns * 4));
  const groups = Math.max(...groupOfInput) + 1;
  const scales = readFloats(matrix.scales, groups * storedRows);
  const words = packing === "signed"
    ? new Int8Array(bytesAt(matrix.values, count))
    : new Int32Array(bytesAt(matrix.values, count / perWord * 4));
  const zeroWords = matrix.zeros === null
    ? null
    : new Int32Array(bytesAt(matrix.zeros, groups * storedRows / perWord * 4));
  const placeOf = (o: number) => packing === "awq" ? AWQ_SHIFT[o % 8] : o % perWord;
  const alongOutputs = (from: Int32Array | Int8Array, row: number, o: number) =>
    from[Math.floor((row * storedRows + o) / perWord)] >>> (bits * placeOf(o)) & mask;
  const valueAt = (o: number, k: number) => {
    if (packing === "signed") return words[o * storedColumns + k];
    if (packing === "awq") return alongOutputs(words, k, o);
    return words[Math.floor(k / perWord) * storedRows + o] >>> (bits * (k % perWord)) & mask;
  };
  const zeroAt = (o: number, group: number) => {
    if (packing === "signed") return 0;
    return zeroWords ? alongOutputs(zeroWords, group, o) + zeroOffset : 2 ** (bits - 1);
  };
  const out = new Float64Array(matrix.rows * matrix.columns);
  for (let row = 0; row < matrix.rows; row++) {
    for (let column = 0; column < matrix.columns; column++) {
      const [o, k] = [matrix.firstRow + row, matrix.firstColumn + column];
      const group = groupOfInput[k];
      const value = valueAt(o, k) - zeroAt(o, group);
      out[row * matrix.columns + column] = value * scales[group * storedRows + o];
    }
  }
  return out;
}

function readFloats(
  { address, dtype }: { readonly address: bigint; readonly dtype: WeightDType },
  count: number,
): Float32Array {
  const buffer = bytesAt(address, count * (dtype === "f32" ? 4 : 2));
  if (dtype === "f32") return new Float32Array(buffer);
  if (dtype === "f16") return Float32Array.from(new Float16Array(buffer));
  return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (half) => half << 16).buffer);
}

function bytesAt(address: bigint, length: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, length);
}
