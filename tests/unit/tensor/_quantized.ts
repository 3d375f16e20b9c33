/** Weights as quantised checkpoints store them, of random bits: every word of them means something. */
import type { Device } from "../../../src/tensor/device.ts";
import { type QuantizedMatrix, wholeSlice } from "../../../src/tensor/linear_kernels.ts";
import type { WeightDType } from "../../../src/tensor/dtype.ts";
import type { Random } from "./_random.ts";

/** What is stored. */
export interface StoredScheme {
  readonly packing: QuantizedMatrix["packing"];
  readonly bits: 4 | 8;
  readonly rows: number;
  readonly columns: number;
  /** All columns when left out. */
  readonly groupSize?: number;
  /** Inputs belong to groups in random order. */
  readonly actOrder?: boolean;
  /** Without zeros of their own. */
  readonly symmetric?: boolean;
  readonly zeroOffset?: 0 | 1;
  readonly scaleDtype?: WeightDType;
}

/** The whole of a random weight, in memory of `device`. */
export function storedWeight(
  device: Device,
  random: Random,
  scheme: StoredScheme,
): QuantizedMatrix {
  const { packing, bits, rows, columns, groupSize = columns, scaleDtype = "f16" } = scheme;
  const groups = Math.ceil(columns / groupSize);
  const count = groups * rows;
  const scales = Float32Array.from({ length: count }, () => 0.01 + 0.02 * random.next());
  const store = (bytes: ArrayBufferView): bigint => {
    const address = device.allocate(bytes.byteLength);
    device.upload(address, bytes);
    return address;
  };
  const groupOfInput = Int32Array.from({ length: columns }, (_, k) => Math.floor(k / groupSize));
  if (scheme.actOrder) {
    const order = random.permutation(columns);
    groupOfInput.set(groupOfInput.slice().map((_, k) => Math.floor(order[k] / groupSize)));
  }
  const hasZeros = packing !== "signed" && !scheme.symmetric;
  return {
    dtype: bits === 8 ? "int8" : "int4",
    packing,
    values: store(randomBytes(random, rows * columns * bits / 8)),
    scales: { address: store(toStored(scales, scaleDtype)), dtype: scaleDtype },
    zeros: hasZeros ? store(randomBytes(random, count * bits / 8)) : null,
    zeroOffset: scheme.zeroOffset ?? 0,
    groupOfInput: scheme.actOrder ? store(groupOfInput) : null,
    groupSize,
    ...wholeSlice(rows, columns),
  };
}

function randomBytes(random: Random, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.below(256));
}

function toStored(values: Float32Array<ArrayBuffer>, dtype: WeightDType): ArrayBufferView {
  if (dtype === "f32") return values;
  if (dtype === "f16") return Float16Array.from(values);
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}
