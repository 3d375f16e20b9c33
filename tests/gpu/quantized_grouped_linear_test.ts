import { assert, assertThrows } from "@std/assert";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { dequantize } from "../unit/tensor/_dequantize.ts";
import { Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";
import { storedWeight, type StoredWeightOptions } from "./_stored_weight.ts";
import { assertRounded } from "./_tolerance.ts";

interface Problem {
  /** Rows of each expert. */
  readonly counts: readonly number[];
  /** How each expert's weight is stored; seeds are those of the experts. */
  readonly stored: StoredWeightOptions;
  /** Rows that share one row of x; 0: none. */
  readonly inputDivisor: number;
  readonly dtype: WeightDType;
  readonly outDtype?: WeightDType;
}

async function check(problem: Problem): Promise<void> {
  const { counts, stored, inputDivisor, dtype, outDtype = "f32" } = problem;
  const { rows: outputs, columns } = stored;
  using device = await openTestDevice();
  const pairs = counts.reduce((sum, count) => sum + count, 0);
  const random = new Random(pairs + columns);
  const order = random.permutation(pairs);
  const offsets = [0];
  for (const count of counts) offsets.push(offsets.at(-1)! + count);
  const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
  const xs = rounded(random.normals(sources * columns), dtype);
  const matrices = counts.map((_, seed) => storedWeight(device, { ...stored, seed }));
  const weights = matrices.map((matrix) => device.linearWeight([matrix], dtype));
  const x = new Matrix(device, sources, columns, { values: xs, dtype });
  const out = new Matrix(device, pairs + 1, outputs, { dtype: outDtype });
  const options = { pairs, inputDivisor };
  const offsetsTensor = vector(device, Int32Array.from(offsets));
  device.groupedLinear(
    out.tensor,
    x.tensor,
    weights,
    vector(device, order),
    offsetsTensor,
    options,
  );
  const got = out.read();
  for (const weight of weights) weight[Symbol.dispose]();

  const want = new Float64Array(pairs * outputs);
  matrices.forEach((matrix, expert) => {
    const numbers = dequantize(matrix);
    for (let i = offsets[expert]; i < offsets[expert + 1]; i++) {
      const source = inputDivisor === 0 ? i : Math.floor(order[i] / inputDivisor);
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let k = 0; k < columns; k++) {
          sum += xs[source * columns + k] * numbers[o * columns + k];
        }
        want[i * outputs + o] = sum;
      }
    }
  });
  const what = JSON.stringify(problem);
  assertRounded(got.subarray(0, want.length), want, { dtype: outDtype, tolerance: 5e-4, what });
  assert(got.subarray(want.length).every(Number.isNaN), `${what}: another row`);
}

const AWQ = { packing: "awq", dtype: "int4", groupSize: 32, zeros: true } as const;
const SIGNED = { packing: "signed", dtype: "int8", groupSize: 128 } as const;

Deno.test("CUDA groupedLinear agrees with float64 for quantised experts", async () => {
  for (const dtype of ["f32", "bf16", "f16"] as const) {
    await check({
      counts: [0, 2, 0, 17],
      stored: { ...AWQ, rows: 72, columns: 200 },
      inputDivisor: 2,
      dtype,
    });
    await check({
      counts: [3, 0, 70],
      stored: { ...SIGNED, rows: 21, columns: 136 },
      inputDivisor: 0,
      dtype,
      outDtype: dtype,
    });
  }
  await assertNothingLeft();
});

Deno.test("CUDA groupedLinear refuses experts that sort their inputs in different ways, or are not on the GPU", async () => {
  using device = await openTestDevice();
  const gptq = { packing: "gptq", dtype: "int4", groupSize: 32, rows: 8, columns: 64 } as const;
  const [sorted, other, plain] = [
    { actOrder: true, seed: 1 },
    { actOrder: true, seed: 2 },
    { seed: 3 },
  ].map((options) => storedWeight(device, { ...gptq, ...options }));
  using first = device.linearWeight([sorted], "bf16");
  const x = new Matrix(device, 2, 64, { dtype: "bf16" }).tensor;
  const out = new Matrix(device, 2, 8).tensor;
  const order = vector(device, Int32Array.of(0, 1));
  const offsets = vector(device, Int32Array.of(0, 1, 2));
  const run = (weights: Parameters<typeof device.groupedLinear>[2]) =>
    device.groupedLinear(out, x, weights, order, offsets, { pairs: 2, inputDivisor: 0 });
  for (const matrix of [other, plain]) {
    using weight = device.linearWeight([matrix], "bf16");
    assertThrows(() => run([first, weight]), RangeError, "act-order");
  }
  using again = device.linearWeight([sorted], "f16");
  assertThrows(() => run([first, again]), RangeError);
  const foreign = { ...first, format: "int4", outFeatures: 8, inFeatures: 64 } as const;
  assertThrows(() => run([first, foreign]), TypeError, "another device");
});
