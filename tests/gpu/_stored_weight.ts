/** Random weights as AWQ, GPTQ and int8 checkpoints store them. */
import { addressOf } from "../../src/native/c_declarations.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { type QuantizedMatrix, wholeSlice } from "../../src/tensor/linear_kernels.ts";
import { Random } from "../unit/tensor/_random.ts";

/** What is to be stored. */
export interface StoredWeightOptions {
  readonly packing: QuantizedMatrix["packing"];
  readonly dtype: QuantizedMatrix["dtype"];
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  /** Whether groups have zeros of their own. */
  readonly zeros?: boolean;
  readonly zeroOffset?: 0 | 1;
  /** Whether inputs belong to groups in random order. */
  readonly actOrder?: boolean;
  readonly scaleDtype?: WeightDType;
  readonly seed?: number;
}

/** What weights may lie in as long as a device lives. */
const hostMemory = new WeakMap<Device, readonly ArrayBufferView[]>();

/**
 * Stores random elements, scales and zeros, in memory that is kept for as long as `device` is. Numbers are
 * of about one in magnitude.
 */
export function storedWeight(device: Device, options: StoredWeightOptions): QuantizedMatrix {
  const { packing, dtype, rows, columns, groupSize, zeros = false, zeroOffset = 0 } = options;
  const { actOrder = false, scaleDtype = "f16", seed = 1 } = options;
  const random = new Random(rows * 31 + columns + seed);
  const bits = dtype === "int4" ? 4 : 8;
  const groups = Math.ceil(columns / groupSize);
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => random.below(256));
  const values = bytes(rows * columns * bits / 8);
  const unit = 2 / 2 ** (bits - 1);
  const numbers = Float32Array.from(
    { length: groups * rows },
    () => unit * (0.5 + random.next()) * (random.below(2) === 0 ? 1 : -1),
  );
  const scales = scaleDtype === "f32"
    ? numbers
    : scaleDtype === "f16"
    ? new Uint16Array(Float16Array.from(numbers).buffer)
    : Uint16Array.from(new Uint32Array(numbers.buffer), (word) => word >>> 16);
  const zeroWords = zeros ? bytes(groups * rows * bits / 8) : null;
  const order = random.permutation(columns);
  const groupOfInput = actOrder
    ? Int32Array.from(order, (position) => Math.floor(position / groupSize))
    : null;
  const parts = [values, scales, zeroWords, groupOfInput].filter((part) => part !== null);
  hostMemory.set(device, [...hostMemory.get(device) ?? [], ...parts]);
  return {
    dtype,
    packing,
    values: addressOf(values),
    scales: { address: addressOf(scales), dtype: scaleDtype },
    zeros: zeroWords && addressOf(zeroWords),
    zeroOffset,
    groupOfInput: groupOfInput && addressOf(groupOfInput),
    groupSize,
    ...wholeSlice(rows, columns),
  };
}
