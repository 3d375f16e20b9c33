import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { assertSameBits, Matrix, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";
import { assertRounded } from "./_tolerance.ts";

const ROWS = 4;
const USED_ROWS = 3;
const EPSILON = 1e-5;
const SIZES = [1, 31, 77, 576, 4100];
const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

/** Rows at aligned addresses, and rows at odd ones. */
const LAYOUTS = [{ gap: 0, offset: 0 }, { gap: 3, offset: 1 }];

interface NormCase {
  readonly name: "rmsNorm" | "layerNorm";
  readonly reference: (x: readonly number[], weight: Float32Array, bias: Float32Array) => number[];
}

const CASES: NormCase[] = [
  {
    name: "rmsNorm",
    reference: (x, weight) => {
      const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + EPSILON);
      return x.map((v, i) => v * scale * weight[i]);
    },
  },
  {
    name: "layerNorm",
    reference: (x, weight, bias) => {
      const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
      const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
      return x.map((v, i) => (v - mean) / Math.sqrt(variance + EPSILON) * weight[i] + bias[i]);
    },
  },
];

function run(
  device: Device,
  name: NormCase["name"],
  options: {
    readonly out: Matrix;
    readonly x: Matrix;
    readonly residual?: Matrix;
    readonly weight: Float32Array<ArrayBuffer>;
    readonly bias: Float32Array<ArrayBuffer>;
    readonly rows: number;
  },
): void {
  const { out, x, residual, rows } = options;
  const [weight, bias] = [vector(device, options.weight), vector(device, options.bias)];
  const settings = { epsilon: EPSILON, residual: residual?.tensor };
  if (name === "rmsNorm") device.rmsNorm(out.tensor, x.tensor, weight, rows, settings);
  else device.layerNorm(out.tensor, x.tensor, weight, bias, rows, settings);
}

function vectors(size: number) {
  const random = new Random(size);
  const weight = random.normals(size).map((value) => 1 + value / 10);
  return { weight, bias: random.normals(size) };
}

for (const { name, reference } of CASES) {
  Deno.test(`CUDA ${name} agrees with float64 and touches its rows only`, async () => {
    using device = await openTestDevice();
    for (const size of SIZES) {
      const { weight, bias } = vectors(size);
      const random = new Random(size + 1);
      const [xs, residuals] = [random.normals(ROWS * size, 2), random.normals(ROWS * size)];
      for (const dtype of DTYPES) {
        for (const layout of LAYOUTS) {
          for (const withResidual of [false, true]) {
            const what = `${name} of ${size} ${dtype}, offset ${layout.offset}, ${withResidual}`;
            const x = new Matrix(device, ROWS, size, { ...layout, values: xs });
            const residual = new Matrix(device, ROWS, size, { ...layout, values: residuals });
            const out = new Matrix(device, ROWS, size, { ...layout, dtype });
            const optional = withResidual ? { residual } : {};
            run(device, name, { out, x, ...optional, weight, bias, rows: USED_ROWS });

            const sums = residuals.map((value, i) =>
              withResidual && i < USED_ROWS * size ? value + xs[i] : value
            );
            assertSameBits(residual.read(), sums, `${what}: residual`);
            const input = withResidual ? sums : xs;
            const want = Array.from({ length: USED_ROWS }, (_, row) => {
              const own = [...input.subarray(row * size, (row + 1) * size)];
              return reference(own, weight, bias);
            }).flat();
            const got = out.read();
            assertRounded(got.subarray(0, want.length), want, { dtype, tolerance: 1e-5, what });
            assert(got.subarray(want.length).every(Number.isNaN), `${what}: another row`);
          }
        }
      }
    }
  });

  Deno.test(`CUDA ${name} gives a row the same bits in any batch, in place too`, async () => {
    using device = await openTestDevice();
    const size = 576;
    const { weight, bias } = vectors(size);
    const values = new Random(5).normals(ROWS * size);
    const x = new Matrix(device, ROWS, size, { values });
    const out = new Matrix(device, ROWS, size);
    run(device, name, { out, x, weight, bias, rows: ROWS });
    const batched = out.read();
    for (let row = 0; row < ROWS; row++) {
      const range = [row * size, (row + 1) * size] as const;
      const alone = new Matrix(device, 1, size, { values: values.subarray(...range), gap: 1 });
      run(device, name, { out: alone, x: alone, weight, bias, rows: 1 });
      assertSameBits(alone.read(), batched.subarray(...range), `row ${row}`);
    }
  });
}

Deno.test("CUDA norms take rows of up to 16384 elements and no empty batch amiss", async () => {
  using device = await openTestDevice();
  const size = 16384;
  const { weight, bias } = vectors(size);
  const values = new Random(6).normals(size);
  const x = new Matrix(device, 1, size, { values, gap: 0 });
  for (const { name, reference } of CASES) {
    const out = new Matrix(device, 1, size, { gap: 0 });
    run(device, name, { out, x, weight, bias, rows: 0 });
    assertEquals(out.read().every(Number.isNaN), true);
    run(device, name, { out, x, weight, bias, rows: 1 });
    const want = reference([...values], weight, bias);
    assertRounded(out.read(), want, { dtype: "f32", tolerance: 2e-5, what: name });

    const longer = new Matrix(device, 1, size + 1, { gap: 0 });
    const { weight: longWeight, bias: longBias } = vectors(size + 1);
    const options = { out: longer, x: longer, weight: longWeight, bias: longBias, rows: 1 };
    assertThrows(() => run(device, name, options), RangeError, "at most 16384");
  }
});
