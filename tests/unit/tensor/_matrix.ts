import { assertEquals } from "@std/assert";
import { addressOf } from "../../../src/native/c_declarations.ts";
import type { Device } from "../../../src/tensor/device.ts";
import type { HostMatrix } from "../../../src/tensor/linear_kernels.ts";
import { dtypeBytes, type WeightDType } from "../../../src/tensor/dtype.ts";
import { Tensor } from "../../../src/tensor/tensor.ts";

/** Bits of the NaN that unwritten memory holds. */
const POISON = { f32: 0x7fc0dead, bf16: 0x7fcd, f16: 0x7ecd } as const;
const GUARD = 32;

type Bits = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** A matrix with gaps between its rows and guards around it; freed with its device. */
export class Matrix {
  /** The view that kernels get. */
  readonly tensor: Tensor;
  readonly #device: Device;
  readonly #address: bigint;
  readonly #length: number;
  readonly #dtype: WeightDType;

  /**
   * Poisoned; `values` (row by row) are written when given. `gap` elements lie between rows, and
   * the first one `offset` elements behind an aligned address.
   */
  constructor(
    device: Device,
    rows: number,
    columns: number,
    options: {
      values?: ArrayLike<number>;
      gap?: number;
      offset?: number;
      dtype?: WeightDType;
    } = {},
  ) {
    const { values = [], gap = 3, offset = 0, dtype = "f32" } = options;
    const stride = columns + gap;
    this.#device = device;
    this.#dtype = dtype;
    this.#length = rows * stride + 2 * GUARD + offset;
    this.#address = device.allocate(this.#length * dtypeBytes(dtype));
    const memory = bitsArray(this.#length, dtype).fill(POISON[dtype]);
    const bits = toBits(Float32Array.from(values), dtype);
    const used = Math.min(bits.length, rows * columns);
    for (let i = 0; i < used; i++) {
      memory[GUARD + offset + Math.floor(i / columns) * stride + i % columns] = bits[i];
    }
    device.upload(this.#address, memory);
    const first = BigInt((GUARD + offset) * dtypeBytes(dtype));
    this.tensor = Tensor.view(device, this.#address + first, {
      shape: [rows, columns],
      rowStride: stride,
      dtype,
    });
  }

  /** The first `rows` rows; throws when anything else in the memory was written. */
  read(rows: number = this.tensor.shape[0]): Float32Array<ArrayBuffer> {
    const bits = bitsArray(this.#length, this.#dtype);
    this.#device.download(bits, this.#address);
    const first = Number(this.tensor.address - this.#address) / dtypeBytes(this.#dtype);
    const columns = this.tensor.shape[1];
    const { rowStride } = this.tensor;
    const values = bitsArray(rows * columns, this.#dtype);
    for (let i = 0; i < this.#length; i++) {
      const row = Math.floor((i - first) / rowStride);
      const column = i - first - row * rowStride;
      if (row >= 0 && row < rows && column < columns) values[row * columns + column] = bits[i];
      else if (row < 0 || row >= this.tensor.shape[0] || column >= columns) {
        const poison = POISON[this.#dtype];
        assertEquals(bits[i], poison, `element ${i - first} outside the matrix was written`);
      }
    }
    return fromBits(values, this.#dtype);
  }
}

/** A contiguous vector of the array's type; freed with its device. */
export function vector(device: Device, values: Float32Array | Float64Array | Int32Array): Tensor {
  const dtype = values instanceof Int32Array
    ? "i32"
    : values instanceof Float64Array
    ? "f64"
    : "f32";
  const tensor = Tensor.allocate(device, { shape: [values.length], dtype });
  tensor.upload(values);
  return tensor;
}

const ALIGNMENT = 64;

/** Memory of this process that weights of other devices may lie in as long as those live. */
const hostMemory = new WeakMap<Device, readonly Uint8Array[]>();

/**
 * Stores `values` where the device reads weights, as `dtype`, at an address that is aligned to one
 * element only, with a row gap.
 */
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
  const address = storeForDevice(device, new Uint8Array(toBits(spread, dtype).buffer), {
    alignment: dtypeBytes(dtype),
  });
  return { address, dtype, rows, columns, rowStride };
}

function storeForDevice(
  device: Device,
  bytes: Uint8Array,
  { alignment }: { alignment: number },
): bigint {
  if (device.kind === "cpu") {
    const address = device.allocate(bytes.length + ALIGNMENT) + BigInt(alignment);
    device.upload(address, bytes);
    return address;
  }
  const memory = new Uint8Array(bytes.length + 2 * ALIGNMENT);
  hostMemory.set(device, [...hostMemory.get(device) ?? [], memory]);
  const start = Number(addressOf(memory) % BigInt(ALIGNMENT));
  const offset = ALIGNMENT - start + alignment;
  memory.set(bytes, offset);
  return addressOf(memory) + BigInt(offset);
}

function bitsArray(length: number, dtype: WeightDType): Bits {
  return dtype === "f32" ? new Uint32Array(length) : new Uint16Array(length);
}

function toBits(values: Float32Array<ArrayBuffer>, dtype: WeightDType): Bits {
  if (dtype === "f16") return new Uint16Array(Float16Array.from(values).buffer);
  const bits = new Uint32Array(values.buffer);
  return dtype === "f32" ? bits : Uint16Array.from(bits, roundToBf16);
}

function fromBits(bits: Bits, dtype: WeightDType): Float32Array<ArrayBuffer> {
  if (dtype === "f16") return Float32Array.from(new Float16Array(bits.buffer));
  const words = dtype === "f32" ? bits : Uint32Array.from(bits, (half) => half << 16);
  return new Float32Array(words.buffer);
}

function roundToBf16(bits: number): number {
  return (bits & 0x7fffffff) > 0x7f800000
    ? bits >>> 16 | 0x40
    : (bits + 0x7fff + (bits >>> 16 & 1)) >>> 16;
}

/** `values` after storing them as `dtype`. */
export function rounded(
  values: Float32Array<ArrayBuffer>,
  dtype: WeightDType,
): Float32Array<ArrayBuffer> {
  return fromBits(toBits(values, dtype), dtype);
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
