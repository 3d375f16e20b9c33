import { assertEquals, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import { assertClose, assertSameBits, hostMatrix, Matrix, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";

const ROWS = 11;
const SIZES = [1, 15, 16, 77, 576];
const EPSILON = 1e-5;

/** A kernel on `rows` rows of `x` (and `y`) of `size` elements, with its float64 reference for one row. */
interface Case {
  readonly name: string;
  readonly run: (device: Device, x: Matrix, y: Matrix, size: number, rows: number) => Matrix;
  readonly reference: (x: number[], y: number[], size: number) => number[];
  readonly tolerance: number;
}

function weights(size: number): Float32Array<ArrayBuffer> {
  return new Random(size).normals(size).map((value) => 1 + value / 10);
}

function rms(x: number[]): number[] {
  const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + EPSILON);
  const w = weights(x.length);
  return x.map((v, i) => v * scale * w[i]);
}

function layerNorm(x: number[]): number[] {
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
  const w = weights(x.length);
  return x.map((v, i) => (v - mean) / Math.sqrt(variance + EPSILON) * w[i] + w[i] / 2);
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

const CASES: Case[] = [
  {
    name: "rmsNorm",
    run: (device, x, _, size, rows) => {
      const out = new Matrix(device, ROWS, size);
      device.rmsNorm(out.tensor, x.tensor, vector(device, weights(size)), rows, {
        epsilon: EPSILON,
      });
      return out;
    },
    reference: rms,
    tolerance: 5e-6,
  },
  {
    name: "rmsNorm with residual",
    run: (device, x, y, size, rows) => {
      const out = new Matrix(device, ROWS, size);
      const weight = vector(device, weights(size));
      device.rmsNorm(out.tensor, x.tensor, weight, rows, { epsilon: EPSILON, residual: y.tensor });
      return out;
    },
    reference: (x, y) => rms(x.map((v, i) => v + y[i])),
    tolerance: 5e-6,
  },
  {
    name: "layerNorm",
    run: (device, x, _, size, rows) => {
      const out = new Matrix(device, ROWS, size);
      const bias = vector(device, weights(size).map((v) => v / 2));
      const weight = vector(device, weights(size));
      device.layerNorm(out.tensor, x.tensor, weight, bias, rows, { epsilon: EPSILON });
      return out;
    },
    reference: layerNorm,
    tolerance: 5e-6,
  },
  {
    name: "layerNorm with residual",
    run: (device, x, y, size, rows) => {
      const out = new Matrix(device, ROWS, size);
      const bias = vector(device, weights(size).map((v) => v / 2));
      const weight = vector(device, weights(size));
      const options = { epsilon: EPSILON, residual: y.tensor };
      device.layerNorm(out.tensor, x.tensor, weight, bias, rows, options);
      return out;
    },
    reference: (x, y) => layerNorm(x.map((v, i) => v + y[i])),
    tolerance: 5e-6,
  },
  {
    name: "siluAndMul",
    run: (device, x, y, size, rows) => {
      const [gate, up] = [x.read(), y.read()];
      const both = Float32Array.from({ length: ROWS * 2 * size }, (_, i) => {
        const source = i % (2 * size) < size ? gate : up;
        return source[Math.floor(i / (2 * size)) * size + i % size];
      });
      const out = new Matrix(device, ROWS, size);
      const input = new Matrix(device, ROWS, 2 * size, { values: both });
      device.siluAndMul(out.tensor, input.tensor, rows, size);
      return out;
    },
    reference: (x, y) => x.map((v, i) => silu(v) * y[i]),
    tolerance: 5e-6,
  },
  {
    name: "gelu",
    run: (device, x, _, size, rows) => {
      const out = new Matrix(device, ROWS, size);
      device.gelu(out.tensor, x.tensor, rows, size);
      return out;
    },
    reference: (x) => x.map(gelu),
    tolerance: 2e-6,
  },
  {
    name: "gelu in place",
    run: (device, x, _, size, rows) => {
      device.gelu(x.tensor, x.tensor, rows, size);
      return x;
    },
    reference: (x) => x.map(gelu),
    tolerance: 2e-6,
  },
  {
    name: "addBias",
    run: (device, x, _, size, rows) => {
      device.addBias(x.tensor, vector(device, weights(size)), rows);
      return x;
    },
    reference: (x) => {
      const w = weights(x.length);
      return x.map((v, i) => v + w[i]);
    },
    tolerance: 1e-6,
  },
];

/** Two matrices of `count` rows of `size` elements. */
function inputs(device: Device, size: number, order: readonly number[]): [Matrix, Matrix] {
  const random = new Random(size + 100);
  const x = random.normals(ROWS * size, 2);
  const y = random.normals(ROWS * size, 2);
  const permuted = (values: Float32Array) =>
    Float32Array.from(values, (_, i) => values[order[Math.floor(i / size)] * size + i % size]);
  return [
    new Matrix(device, ROWS, size, { values: permuted(x) }),
    new Matrix(device, ROWS, size, { values: permuted(y), gap: 0 }),
  ];
}

const IN_ORDER = Array.from({ length: ROWS }, (_, i) => i);
const REVERSED = IN_ORDER.toReversed();

for (const { name, run, reference, tolerance } of CASES) {
  Deno.test(`${name} agrees with float64, touches its rows only, in bits free of threads and rows`, () => {
    for (const size of SIZES) {
      using device = openCpuDevice({ threads: 1 });
      const [x, y] = inputs(device, size, IN_ORDER);
      const [xs, ys] = [x.read(), y.read()];
      const want = IN_ORDER.flatMap((row) => {
        const range = [row * size, (row + 1) * size] as const;
        return reference([...xs.subarray(...range)], [...ys.subarray(...range)], size);
      });
      const got = run(device, x, y, size, ROWS).read();
      assertClose(got, want, tolerance, `${name} of ${size}`);

      const width = got.length / ROWS;
      for (const threads of [2, 3]) {
        using other = openCpuDevice({ threads });
        const again = run(other, ...inputs(other, size, REVERSED), size, ROWS).read();
        const back = Float32Array.from(
          again,
          (_, i) => again[(ROWS - 1 - Math.floor(i / width)) * width + i % width],
        );
        assertSameBits(back, got, `${name} of ${size} on ${threads} threads, rows reversed`);
        const untouched = run(other, ...inputs(other, size, IN_ORDER), size, 0).read();
        const [x4, y4] = inputs(other, size, IN_ORDER);
        const fewer = run(other, x4, y4, size, 4).read();
        assertSameBits(fewer.subarray(0, 4 * width), got.subarray(0, 4 * width), "4 rows");
        assertSameBits(fewer.subarray(4 * width), untouched.subarray(4 * width), "other rows");
        assertSameBits(y4.read().subarray(4 * size), ys.subarray(4 * size), "other rows of y");
      }
    }
  });
}

Deno.test("row kernels give the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 1 });
  forEachInstructionSet({ threads: 1 }, (device, set) => {
    for (const { name, run } of CASES) {
      const got = run(device, ...inputs(device, 77, IN_ORDER), 77, ROWS).read();
      const want = run(native, ...inputs(native, 77, IN_ORDER), 77, ROWS).read();
      assertSameBits(got, want, `${name} on ${set}`);
    }
  });
});

Deno.test("a norm with residual leaves the sum in the residual", () => {
  using device = openCpuDevice({ threads: 2 });
  const [x, y] = inputs(device, 77, IN_ORDER);
  const [xs, ys] = [x.read(), y.read()];
  const want = xs.map((v, i) => v + ys[i]);
  const out = new Matrix(device, ROWS, 77);
  device.rmsNorm(out.tensor, x.tensor, vector(device, weights(77)), ROWS, {
    epsilon: EPSILON,
    residual: y.tensor,
  });
  assertSameBits(y.read(), want, "residual");
});

Deno.test("embedding reads rows by id, zeros outside the shard, and no negative zero", () => {
  using device = openCpuDevice({ threads: 2 });
  const values = new Random(3).normals(10 * 21);
  values[3 * 21] = -0;
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    // Two segments: ids 100..103 and 104..109.
    const first = hostMatrix(device, values, { rows: 4, columns: 21, dtype });
    const second = hostMatrix(device, values.subarray(84), { rows: 6, columns: 21, dtype });
    using table = device.linearWeight([first, second], "f32");
    const ids = Int32Array.from([103, 99, 109, 110, 100, 0, 104, 2 ** 31 - 1, -1]);
    const out = new Matrix(device, ids.length, 21);
    device.embedding(out.tensor, vector(device, ids), table, ids.length, 100);
    const tolerance = { f32: 0, f16: 2 ** -9, bf16: 2 ** -6 }[dtype];
    const want = [...ids].flatMap((id) => {
      const row = id - 100;
      return Array.from({ length: 21 }, (_, i) => row >= 0 && row < 10 ? values[row * 21 + i] : 0);
    });
    const got = out.read();
    assertClose(got, want, tolerance, dtype);
    assertEquals(Object.is(got[0], 0), true, "-0 became +0");
  }
});

Deno.test("add and gatherRows", () => {
  for (const threads of [1, 2]) {
    using device = openCpuDevice({ threads });
    const random = new Random(9);
    for (const count of [1, 17, 40_003]) {
      const [a, b] = [random.normals(count), random.normals(count)];
      const out = new Matrix(device, 1, count);
      device.add(out.tensor, vector(device, a), vector(device, b), count);
      assertSameBits(out.read(), a.map((v, i) => v + b[i]), `add ${count}`);
    }
    const values = random.normals(6 * 19);
    const x = new Matrix(device, 6, 19, { values });
    const index = vector(device, Int32Array.from([5, 0, 0, 3]));
    const out = new Matrix(device, 4, 19);
    device.gatherRows(out.tensor, x.tensor, index, 4, 19);
    const want = [5, 0, 0, 3].flatMap((row) => [...values.subarray(row * 19, row * 19 + 19)]);
    assertSameBits(out.read(), Float32Array.from(want), "gatherRows");
    const outside = vector(device, Int32Array.from([0, 6]));
    assertThrows(() => device.gatherRows(out.tensor, x.tensor, outside, 2, 19), RangeError);
  }
});

Deno.test("layer kernels refuse tensors that are too small or of another type", () => {
  using device = openCpuDevice({ threads: 1 });
  const x = new Matrix(device, 2, 8).tensor;
  const weight = vector(device, new Float32Array(8));
  const ints = vector(device, new Int32Array(8));
  for (
    const wrong of [
      () => device.rmsNorm(x, x, weight, 3, { epsilon: EPSILON }),
      () => device.rmsNorm(x, x, ints, 2, { epsilon: EPSILON }),
      () => device.rmsNorm(x, x.columns(0, 7), weight, 2, { epsilon: EPSILON }),
      () => device.rmsNorm(x, x, weight, 2, { epsilon: EPSILON, residual: x.columns(1, 7) }),
      () => device.layerNorm(x, x, weight, ints, 2, { epsilon: EPSILON }),
      () => device.siluAndMul(x, x, 2, 8),
      () => device.gelu(x, x, NaN, 8),
      () => device.add(weight, weight, weight, 9),
      () => device.add(x, weight, weight, 16),
      () => device.addBias(x, vector(device, new Float32Array(9)), 2),
      () => device.gatherRows(x, x, weight, 2, 8),
    ]
  ) assertThrows(wrong, RangeError);
});
