/** Products with quantised weights on a GPU, and what they should be. */
import { MAX_PACKED_ROWS } from "../../src/tensor/cuda/quantized_linear.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import type { LinearOptions, LinearWeight } from "../../src/tensor/linear_kernels.ts";
import { Matrix, rounded } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import type { StoredWeightOptions } from "./_stored_weight.ts";
import { assertRounded, ROUNDING } from "./_tolerance.ts";

/** What checkpoints have; rows and columns are multiplied by what the packing asks for. */
export const STORED: readonly Omit<StoredWeightOptions, "rows" | "columns">[] = [
  { packing: "awq", dtype: "int4", groupSize: 128, zeros: true },
  { packing: "awq", dtype: "int4", groupSize: 32, zeros: true },
  { packing: "gptq", dtype: "int4", groupSize: 64, zeros: true, zeroOffset: 1 },
  { packing: "gptq", dtype: "int4", groupSize: 128, scaleDtype: "bf16" },
  { packing: "gptq", dtype: "int4", groupSize: 32, zeros: true, zeroOffset: 1, actOrder: true },
  { packing: "gptq", dtype: "int8", groupSize: 128, zeros: true, zeroOffset: 1 },
  { packing: "gptq", dtype: "int8", groupSize: 32, zeros: true, actOrder: true },
  { packing: "signed", dtype: "int8", groupSize: 10_000, scaleDtype: "f32" },
  { packing: "signed", dtype: "int8", groupSize: 40, scaleDtype: "bf16" },
];

/** `x [tokens, columns] * w [rows, columns]^T` in float64. */
export function product(x: Float32Array, w: ArrayLike<number>, tokens: number, columns: number) {
  const rows = w.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += x[t * columns + k] * w[r * columns + k];
    return sum;
  });
}

/** One linear on poisoned output. */
export function run(
  device: Device,
  x: Float32Array,
  weight: LinearWeight,
  shape: { tokens: number; dtype: WeightDType; xDtype?: WeightDType; out?: WeightDType },
  options: LinearOptions & { gap?: number; offset?: number } = {},
): Float32Array<ArrayBuffer> {
  const { tokens, dtype, xDtype = dtype, out = "f32" } = shape;
  const { gap, offset, ...linearOptions } = options;
  const layout = { gap, offset, dtype: xDtype };
  const input = new Matrix(device, tokens, weight.inFeatures, { ...layout, values: x });
  const result = new Matrix(device, tokens, weight.outFeatures, { dtype: out });
  device.linear(result.tensor, input.tensor, weight, tokens, linearOptions);
  return result.read();
}

/** Rounding of f32 sums of `columns` products of numbers of about one. */
function sumTolerance(columns: number): number {
  return 4e-6 * Math.sqrt(columns) * Math.log2(columns + 2);
}

/** What rounding each weight to `dtype` may change in a sum, in products of very many rows. */
function unpackedTolerance(columns: number, dtype: WeightDType): number {
  return dtype === "f32" ? 0 : 6 * Math.sqrt(columns) * ROUNDING[dtype];
}

/** Throws unless a product of random rows is right. `numbers`: what the weight stands for. */
export function check(
  device: Device,
  weight: LinearWeight,
  numbers: ArrayLike<number>,
  shape: { tokens: number; dtype: WeightDType; out?: WeightDType },
  options: { what: string; gap?: number; offset?: number },
): void {
  const { tokens, dtype, out = "f32" } = shape;
  const { inFeatures } = weight;
  const { what, ...layout } = options;
  const x = rounded(new Random(tokens).normals(tokens * inFeatures), dtype);
  const got = run(device, x, weight, shape, layout);
  const unpacked = tokens > MAX_PACKED_ROWS ? unpackedTolerance(inFeatures, dtype) : 0;
  assertRounded(got, product(x, numbers, tokens, inFeatures), {
    dtype: out,
    tolerance: sumTolerance(inFeatures) + unpacked,
    what: `${what}, ${dtype} to ${out}, ${tokens} x ${weight.outFeatures} x ${inFeatures}`,
  });
}
