/**
 * Shapes of products, and random operands for them.
 * @module
 */
import { RandomWeights } from "../../src/models/random_weights.ts";
import type { Device } from "../../src/tensor/device.ts";
import { dtypeBytes, type WeightDType } from "../../src/tensor/dtype.ts";
import { Tensor } from "../../src/tensor/tensor.ts";

/** Bytes to go round in: several times what the largest L2 cache holds. */
export const ROUND_BYTES: number = 2 ** 30;

/** A weight of a model. */
export interface LinearShape {
  /** Model and layer. */
  readonly name: string;
  /** Rows. */
  readonly outFeatures: number;
  /** Columns. */
  readonly inFeatures: number;
  /** Type of the result; a gated product is of half the features. */
  readonly out: WeightDType | "gated";
}

/** The weights of Llama 3.2 1B and 3.1 8B. */
export const LINEAR_SHAPES: readonly LinearShape[] = [
  { name: "1b qkv", outFeatures: 3072, inFeatures: 2048, out: "bf16" },
  { name: "1b output", outFeatures: 2048, inFeatures: 2048, out: "f32" },
  { name: "1b gate, up", outFeatures: 16384, inFeatures: 2048, out: "gated" },
  { name: "1b down", outFeatures: 2048, inFeatures: 8192, out: "f32" },
  { name: "1b head", outFeatures: 128256, inFeatures: 2048, out: "f32" },
  { name: "8b qkv", outFeatures: 6144, inFeatures: 4096, out: "bf16" },
  { name: "8b output", outFeatures: 4096, inFeatures: 4096, out: "f32" },
  { name: "8b gate, up", outFeatures: 28672, inFeatures: 4096, out: "gated" },
  { name: "8b down", outFeatures: 4096, inFeatures: 14336, out: "f32" },
  { name: "8b head", outFeatures: 128256, inFeatures: 4096, out: "f32" },
];

/** Random values on the host that all operands are made of. */
export const RANDOM: Uint16Array<ArrayBuffer> = (() => {
  const values = new Uint16Array(2 ** 22);
  new RandomWeights("bf16", { seed: 1n, standardDeviation: 0.05 }).stream("x").fill(values);
  return values;
})();

/** A tensor whose allocation is `stack`'s; bf16 ones hold random values. */
export function tensor(
  device: Device,
  stack: DisposableStack,
  shape: readonly number[],
  dtype: WeightDType = "bf16",
): Tensor {
  const made = stack.use(Tensor.allocate(device, { shape, dtype }));
  const bytes = made.size * dtypeBytes(dtype);
  for (let start = 0; dtype === "bf16" && start < bytes; start += RANDOM.byteLength) {
    const length = Math.min(RANDOM.length, (bytes - start) / 2);
    device.upload(made.address + BigInt(start), RANDOM.subarray(0, length));
  }
  return made;
}

/** Random values of a weight on the host. */
export function hostValues(length: number): Uint16Array<ArrayBuffer> {
  const values = new Uint16Array(length);
  for (let start = 0; start < length; start += RANDOM.length) {
    values.set(RANDOM.subarray(0, length - start), start);
  }
  return values;
}
