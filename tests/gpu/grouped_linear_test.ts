import { assert, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { hostMatrix, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";
import { assertRounded } from "./_tolerance.ts";

const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

interface Problem {
  /** Rows of each expert. */
  readonly counts: readonly number[];
  readonly outputs: number;
  readonly columns: number;
  /** Rows that share one row of x; 0: none. */
  readonly inputDivisor: number;
  readonly dtype: WeightDType;
  readonly outDtype?: WeightDType;
  readonly gap?: number;
}

async function check(problem: Problem): Promise<void> {
  const { counts, outputs, columns, inputDivisor, dtype, outDtype = "f32", gap = 0 } = problem;
  using device = await openTestDevice();
  using host = openCpuDevice({ threads: 1 });
  const pairs = counts.reduce((sum, count) => sum + count, 0);
  const random = new Random(pairs + columns);
  const order = random.permutation(pairs);
  const offsets = [0];
  for (const count of counts) offsets.push(offsets.at(-1)! + count);
  const sources = inputDivisor === 0 ? pairs : Math.ceil(pairs / inputDivisor);
  const xs = rounded(random.normals(sources * columns), dtype);
  const matrices = counts.map(() => rounded(random.normals(outputs * columns, 0.2), dtype));
  const weights = matrices.map((values) =>
    device.linearWeight([hostMatrix(host, values, { rows: outputs, columns, dtype })], dtype)
  );
  const x = new Matrix(device, sources, columns, { values: xs, gap, dtype });
  const out = new Matrix(device, pairs + 1, outputs, { dtype: outDtype });
  const orderTensor = vector(device, order);
  const offsetsTensor = vector(device, Int32Array.from(offsets));
  const options = { pairs, inputDivisor };
  device.groupedLinear(out.tensor, x.tensor, weights, orderTensor, offsetsTensor, options);
  const got = out.read();
  for (const weight of weights) weight[Symbol.dispose]();

  const want = new Float64Array(pairs * outputs);
  counts.forEach((_, expert) => {
    for (let i = offsets[expert]; i < offsets[expert + 1]; i++) {
      const source = inputDivisor === 0 ? i : Math.floor(order[i] / inputDivisor);
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let k = 0; k < columns; k++) {
          sum += xs[source * columns + k] * matrices[expert][o * columns + k];
        }
        want[i * outputs + o] = sum;
      }
    }
  });
  const what = JSON.stringify(problem);
  assertRounded(got.subarray(0, want.length), want, { dtype: outDtype, tolerance: 2e-5, what });
  assert(got.subarray(want.length).every(Number.isNaN), `${what}: another row`);
}

Deno.test("CUDA groupedLinear agrees with float64 for few rows an expert", async () => {
  for (const dtype of DTYPES) {
    await check({ counts: [1], outputs: 1, columns: 1, inputDivisor: 0, dtype });
    await check({ counts: [0, 2, 0, 17], outputs: 70, columns: 200, inputDivisor: 2, dtype });
    await check({
      counts: [3, 0, 5, 1],
      outputs: 64,
      columns: 90,
      inputDivisor: 0,
      dtype,
      outDtype: dtype,
      gap: 3,
    });
  }
  const counts = Array.from({ length: 70 }, (_, expert) => expert % 3 === 0 ? 2 : 0);
  await check({ counts, outputs: 20, columns: 64, inputDivisor: 8, dtype: "bf16" });
});

Deno.test("CUDA groupedLinear agrees with float64 for many rows an expert", async () => {
  for (const dtype of DTYPES) {
    await check({ counts: [129, 0, 40], outputs: 70, columns: 136, inputDivisor: 2, dtype });
    await check({
      counts: [64, 65],
      outputs: 130,
      columns: 72,
      inputDivisor: 0,
      dtype,
      outDtype: dtype,
      gap: 8,
    });
  }
});

Deno.test("CUDA groupedLinear frees its table with the first weight", async () => {
  await check({ counts: [1, 1], outputs: 2, columns: 8, inputDivisor: 1, dtype: "f32" });
  await assertNothingLeft();
});

Deno.test("CUDA groupedLinear refuses weights that differ and results it cannot write", async () => {
  using device = await openTestDevice();
  using host = openCpuDevice({ threads: 1 });
  const stored = hostMatrix(host, new Float32Array(32), { rows: 4, columns: 8, dtype: "f32" });
  using weight = device.linearWeight([stored], "bf16");
  using shorter = device.linearWeight([{ ...stored, rows: 3 }], "bf16");
  using other = device.linearWeight([stored], "f16");
  using foreign = host.linearWeight([stored], "f32");
  const x = new Matrix(device, 2, 8, { dtype: "bf16" }).tensor;
  const out = new Matrix(device, 2, 4).tensor;
  const halves = new Matrix(device, 2, 4, { dtype: "f16" }).tensor;
  const order = vector(device, Int32Array.of(0, 1));
  const offsets = vector(device, Int32Array.of(0, 1, 2));
  const options = { pairs: 2, inputDivisor: 0 };
  const two = [weight, weight];
  for (
    const wrong of [
      () => device.groupedLinear(out, x, [weight, shorter], order, offsets, options),
      () => device.groupedLinear(out, x, [weight, other], order, offsets, options),
      () => device.groupedLinear(out, x, [], order, offsets, options),
      () => device.groupedLinear(halves, x, two, order, offsets, options),
      () => device.groupedLinear(out, x, two, offsets, order, options),
      () => device.groupedLinear(out, x, two, order, offsets, { ...options, pairs: 3 }),
    ]
  ) assertThrows(wrong, RangeError);
  assertThrows(
    () => device.groupedLinear(out, x, [foreign, foreign], order, offsets, options),
    TypeError,
    "another device",
  );
});
