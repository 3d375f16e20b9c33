import { assert, assertThrows } from "@std/assert";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { assertSameBits, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";
import { assertRounded } from "./_tolerance.ts";

const ROWS = 4;
const USED_ROWS = 3;
const SIZES = [1, 8, 77, 576, 2050];
const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

/** Rows at aligned addresses, and rows at odd ones. */
const LAYOUTS = [{ gap: 0, offset: 0 }, { gap: 3, offset: 1 }];

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

Deno.test("CUDA siluAndMul and gelu agree with float64 and touch their rows only", async () => {
  using device = await openTestDevice();
  for (const dtype of DTYPES) {
    for (const size of SIZES) {
      for (const layout of LAYOUTS) {
        const what = `${size} ${dtype}, offset ${layout.offset}`;
        const values = rounded(new Random(size).normals(ROWS * 2 * size, 4), dtype);
        const x = new Matrix(device, ROWS, 2 * size, { ...layout, dtype, values });
        const gated = new Matrix(device, ROWS, size, { ...layout, dtype });
        device.siluAndMul(gated.tensor, x.tensor, USED_ROWS, size);
        const products = Array.from({ length: USED_ROWS * size }, (_, i) => {
          const first = Math.floor(i / size) * 2 * size + i % size;
          return silu(values[first]) * values[first + size];
        });
        const got = gated.read();
        const used = USED_ROWS * size;
        const tolerance = 1e-5;
        assertRounded(got.subarray(0, used), products, { dtype, tolerance, what: `silu ${what}` });
        assert(got.subarray(used).every(Number.isNaN), `${what}: another row`);

        // In place.
        device.gelu(x.tensor, x.tensor, USED_ROWS, 2 * size);
        const want = values.map((value, i) => i < USED_ROWS * 2 * size ? gelu(value) : value);
        assertRounded(x.read(), want, { dtype, tolerance: 2e-6, what: `gelu ${what}` });
      }
    }
  }
});

Deno.test("CUDA activations saturate without NaN", async () => {
  using device = await openTestDevice();
  const x = new Matrix(device, 1, 4, { values: [-200, 200, 1, 1] });
  const out = new Matrix(device, 1, 2);
  device.siluAndMul(out.tensor, x.tensor, 1, 2);
  assertRounded(out.read(), [0, 200], { dtype: "f32", tolerance: 0, what: "silu" });
  device.gelu(out.tensor, x.tensor, 1, 2);
  assertRounded(out.read(), [0, 200], { dtype: "f32", tolerance: 0, what: "gelu" });
});

Deno.test("CUDA add and addBias give the bits of f32 addition", async () => {
  using device = await openTestDevice();
  const random = new Random(9);
  for (const count of [1, 17, 4096, 10_003]) {
    const [a, b] = [random.normals(count), random.normals(count)];
    const out = new Matrix(device, 1, count, { values: a });
    device.add(out.tensor, out.tensor, vector(device, b), count);
    assertSameBits(out.read(), a.map((value, i) => value + b[i]), `add ${count}`);
  }
  for (const size of SIZES) {
    for (const layout of LAYOUTS) {
      const values = random.normals(ROWS * size);
      const bias = random.normals(size);
      const x = new Matrix(device, ROWS, size, { ...layout, values });
      device.addBias(x.tensor, vector(device, bias), USED_ROWS);
      const want = values.map((value, i) => i < USED_ROWS * size ? value + bias[i % size] : value);
      assertSameBits(x.read(), want, `addBias ${size}`);
    }
  }
});

Deno.test("CUDA gatherRows copies rows, and gives NaN for rows that are not there", async () => {
  using device = await openTestDevice();
  for (const size of SIZES) {
    for (const layout of LAYOUTS) {
      const values = new Random(size).normals(6 * size);
      const x = new Matrix(device, 6, size, { ...layout, values });
      const index = [5, 0, 6, 0, -1, 3];
      const out = new Matrix(device, 7, size, layout);
      device.gatherRows(out.tensor, x.tensor, vector(device, Int32Array.from(index)), 6, size);
      const want = [...index, 6].flatMap((row) =>
        row >= 0 && row < 6
          ? [...values.subarray(row * size, (row + 1) * size)]
          : new Array<number>(size).fill(NaN)
      );
      assertSameBits(out.read(), Float32Array.from(want), `gatherRows ${size}`);
    }
  }
});

Deno.test("CUDA row kernels refuse tensors that are too small or of another type", async () => {
  using device = await openTestDevice();
  const x = new Matrix(device, 2, 8).tensor;
  const halves = new Matrix(device, 2, 8, { dtype: "bf16" }).tensor;
  const weight = vector(device, new Float32Array(8));
  const ints = vector(device, new Int32Array(8));
  for (
    const wrong of [
      () => device.rmsNorm(halves, x, weight, 3, { epsilon: 1e-5 }),
      () => device.rmsNorm(x, halves, weight, 2, { epsilon: 1e-5 }),
      () => device.rmsNorm(ints, x, weight, 1, { epsilon: 1e-5 }),
      () => device.layerNorm(x, x, weight, ints, 2, { epsilon: 1e-5 }),
      () => device.siluAndMul(halves, x, 2, 4),
      () => device.siluAndMul(x, x, 2, 8),
      () => device.gelu(ints, ints, 1, 8),
      () => device.gelu(x, x, NaN, 8),
      () => device.add(weight, weight, weight, 9),
      () => device.add(halves, weight, weight, 8),
      () => device.addBias(x, vector(device, new Float32Array(9)), 2),
      () => device.gatherRows(x, x, weight, 2, 8),
    ]
  ) assertThrows(wrong, RangeError);
});
