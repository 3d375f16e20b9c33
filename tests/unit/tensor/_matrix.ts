import { assertEquals } from "@std/assert";
import type { Device } from "../../../src/tensor/device.ts";
import type { HostMatrix } from "../../../src/tensor/linear_kernels.ts";
import { dtypeBytes, type WeightDType } from "../../../src/tensor/dtype.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";

/** Bits of the NaN that unwritten memory holds. */
const POISON = 0x7fc0dead;
const GUARD = 32;

/** A matrix with gaps between its rows and guards around it; freed with its device. */
export class Matrix {
  /** The view that kernels get. */
  readonly tensor: Tensor;
  readonly #device: Device;
  readonly #address: bigint;
  readonly #length: number;

  /** Poisoned; `values` (row by row) are written when given. `gap` elements lie between rows. */
  constructor(
    device: Device,
    rows: number,
    columns: number,
    options: { values?: ArrayLike<number>; gap?: number; offset?: number } = {},
  ) {
    const { values, gap = 3, offset = 0 } = options;
    const stride = columns + gap;
    this.#device = device;
    this.#length = rows * stride + 2 * GUARD + offset;
    this.#address = device.allocate(this.#length * 4);
    const memory = new Float32Array(this.#length);
    new Uint32Array(memory.buffer).fill(POISON);
    for (let i = 0; values !== undefined && i < rows * columns; i++) {
      memory[GUARD + offset + Math.floor(i / columns) * stride + i % columns] = values[i];
    }
    device.upload(this.#address, memory);
    this.tensor = Tensor.view(device, this.#address + BigInt(4 * (GUARD + offset)), {
      shape: [rows, columns],
      rowStride: stride,
    });
  }

  /** The first `rows` rows; throws when anything else in the memory was written. */
  read(rows: number = this.tensor.shape[0]): Float32Array<ArrayBuffer> {
    const memory = this.#device;
    const all = new Float32Array(this.#length);
    memory.download(all, this.#address);
    const bits = new Uint32Array(all.buffer);
    const first = Number(this.tensor.address - this.#address) / 4;
    const columns = this.tensor.shape[1];
    const { rowStride } = this.tensor;
    const values = new Float32Array(rows * columns);
    for (let i = 0; i < this.#length; i++) {
      const row = Math.floor((i - first) / rowStride);
      const column = i - first - row * rowStride;
      if (row >= 0 && row < rows && column < columns) values[row * columns + column] = all[i];
      else if (row < 0 || row >= this.tensor.shape[0] || column >= columns) {
        assertEquals(bits[i], POISON, `element ${i - first} outside the matrix was written`);
      }
    }
    return values;
  }
}

/** A contiguous f32 or i32 vector; freed with its device. */
export function vector(device: Device, values: Float32Array | Int32Array): Tensor {
  const dtype = values instanceof Int32Array ? "i32" : "f32";
  const tensor = Tensor.allocate(device, { shape: [values.length], dtype });
  tensor.upload(values as Float32Array<ArrayBuffer>);
  return tensor;
}

/** Stores `values` as `dtype`, at an address that is aligned to one element only, with a row gap. */
export function hostMatrix(
  device: Device,
  values: ArrayLike<number>,
  shape: { rows: number; columns: number; dtype: WeightDType; gap?: number },
): HostMatrix {
  const { rows, columns, dtype, gap = 5 } = shape;
  const rowStride = columns + gap;
  const spread = new Float32Array(rows * rowStride).fill(NaN);
  for (let i = 0; i < rows * columns; i++) {
    spread[Math.floor(i / columns) * rowStride + i % columns] = values[i];
  }
  const bytes = dtypeBytes(dtype);
  const address = device.allocate(spread.length * bytes + bytes) + BigInt(bytes);
  device.upload(address, encode(spread, dtype));
  return { address, dtype, rows, columns, rowStride };
}

function encode(values: Float32Array<ArrayBuffer>, dtype: WeightDType): ArrayBufferView {
  if (dtype === "f32") return values;
  if (dtype === "f16") return Float16Array.from(values);
  return Uint16Array.from(new Uint32Array(values.buffer), roundToBf16);
}

function roundToBf16(bits: number): number {
  return (bits & 0x7fffffff) > 0x7f800000
    ? bits >>> 16 | 0x40
    : (bits + 0x7fff + (bits >>> 16 & 1)) >>> 16;
}

/** `values` after storing them as `dtype`. */
export function rounded(values: Float32Array<ArrayBuffer>, dtype: WeightDType): Float32Array {
  if (dtype === "f32") return values;
  if (dtype === "f16") return Float32Array.from(Float16Array.from(values));
  const bits = Uint32Array.from(new Uint32Array(values.buffer), (b) => roundToBf16(b) << 16);
  return new Float32Array(bits.buffer);
}

/** Throws unless both hold the same bits (any NaN equals any other). */
export function assertSameBits(actual: Float32Array, expected: Float32Array, what = ""): void {
  assertEquals(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      throw new Error(`${what}: element ${i} is ${actual[i]} instead of ${expected[i]}`);
    }
  }
}

/** Throws unless every element is within `tolerance` of `expected` (NaN never is). */
export function assertClose(
  actual: Float32Array,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "",
): void {
  assertEquals(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance)) {
      throw new Error(`${what}: element ${i} is ${actual[i]} instead of ${expected[i]}`);
    }
  }
}
