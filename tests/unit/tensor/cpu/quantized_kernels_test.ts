import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { compileSources } from "../../../../src/native/compile.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import type {
  HostMatrix,
  LinearWeight,
  QuantizedMatrix,
  WeightOptions,
  WeightPart,
} from "../../../../src/tensor/linear_kernels.ts";
import type { WeightDType } from "../../../../src/tensor/dtype.ts";
import { withAmxTwin } from "../../../amx_twin/sources.ts";
import { instructionSetFlags } from "../../native/_simd_harness.ts";
import { dequantize } from "../_dequantize.ts";
import { assertClose, assertSameBits, hostMatrix, Matrix, rounded, vector } from "../_matrix.ts";
import { type StoredScheme, storedWeight } from "../_quantized.ts";
import { Random } from "../_random.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";

const SCHEMES: Readonly<Record<string, StoredScheme>> = {
  "awq": { packing: "awq", bits: 4, rows: 40, columns: 200, groupSize: 32 },
  "awq, one group": { packing: "awq", bits: 4, rows: 24, columns: 328 },
  "gptq": { packing: "gptq", bits: 4, rows: 40, columns: 208, groupSize: 64, zeroOffset: 1 },
  "gptq, act-order": {
    packing: "gptq",
    bits: 4,
    rows: 40,
    columns: 256,
    groupSize: 32,
    actOrder: true,
    zeroOffset: 1,
  },
  "gptq, symmetric": { packing: "gptq", bits: 4, rows: 16, columns: 96, symmetric: true },
  "gptq, 8 bits": {
    packing: "gptq",
    bits: 8,
    rows: 36,
    columns: 640,
    groupSize: 128,
    zeroOffset: 1,
    scaleDtype: "f32",
  },
  "gptq, 8 bits, act-order": {
    packing: "gptq",
    bits: 8,
    rows: 20,
    columns: 140,
    groupSize: 30,
    actOrder: true,
    symmetric: true,
  },
  "signed": { packing: "signed", bits: 8, rows: 37, columns: 301, scaleDtype: "bf16" },
};

interface Run {
  readonly format?: WeightDType;
  readonly bias?: Float32Array;
}

/** Runs one linear on poisoned output. */
function run(
  device: Device,
  x: Float32Array,
  parts: readonly WeightPart[],
  options: WeightOptions & Run = {},
): Float32Array<ArrayBuffer> {
  using weight = device.linearWeight(parts, options.format ?? "bf16", options);
  return multiply(device, x, weight);
}

function multiply(
  device: Device,
  x: Float32Array,
  weight: LinearWeight,
): Float32Array<ArrayBuffer> {
  const tokens = x.length / weight.inFeatures;
  const input = new Matrix(device, tokens, weight.inFeatures, { values: x, gap: 1 });
  const out = new Matrix(device, tokens, weight.outFeatures);
  device.linear(out.tensor, input.tensor, weight, tokens);
  return out.read();
}

function product(x: ArrayLike<number>, w: ArrayLike<number>, columns: number): Float64Array {
  const rows = w.length / columns;
  return Float64Array.from({ length: x.length / columns * rows }, (_, i) => {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += x[t * columns + k] * w[r * columns + k];
    return sum;
  });
}

/** Activations that int8 holds exactly wherever segments are cut: of one magnitude, or zero. */
function ternary(random: Random, tokens: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: tokens * columns },
    (_, i) => (random.below(3) - 1) * (1 + Math.floor(i / columns)),
  );
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0, size = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(error / size);
}

/** What a quantised weight stands for, by its exact products with the columns of the identity. */
function weightsOf(device: Device, weight: LinearWeight): Float32Array {
  const { inFeatures, outFeatures } = weight;
  const identity = Float32Array.from(
    { length: inFeatures ** 2 },
    (_, i) => i % (inFeatures + 1) === 0 ? 1 : 0,
  );
  const columns = multiply(device, identity, weight);
  return columns.map((_, i) => columns[i % inFeatures * outFeatures + Math.floor(i / inFeatures)]);
}

for (const [name, scheme] of Object.entries(SCHEMES)) {
  Deno.test(`${name}: products agree with float64, whole, sliced and in blocks`, () => {
    using device = openCpuDevice({ threads: 2 });
    const random = new Random(scheme.columns);
    const whole = storedWeight(device, random, scheme);
    const { rows, columns } = scheme;
    const slices: QuantizedMatrix[] = [
      whole,
      { ...whole, firstRow: 3, rows: rows - 8, firstColumn: 5, columns: columns - 14 },
      { ...whole, firstRow: rows - 1, rows: 1, firstColumn: columns - 7, columns: 7 },
    ];
    for (const slice of slices) {
      const w = dequantize(slice);
      for (const blockSize of [0, 23, 64]) {
        for (const tokens of [1, 2, 3, 20]) {
          const x = ternary(random, tokens, slice.columns);
          const want = product(x, w, slice.columns);
          const label =
            `${slice.rows} x ${slice.columns}, blocks of ${blockSize}, ${tokens} tokens`;
          assertLess(relativeError(run(device, x, [slice], { blockSize }), want), 1e-6, label);
          const y = random.normals(tokens * slice.columns);
          const exact = run(device, y, [slice], { blockSize, format: "f32" });
          const wanted = product(y, w, slice.columns);
          assertLess(relativeError(exact, wanted), 1e-6, label);
          // A byte is off by a 254th of the largest of its segment at most, usually by less.
          if (slice.rows > 1) {
            assertLess(relativeError(run(device, y, [slice], { blockSize }), wanted), 0.015, label);
          }
        }
      }
    }
  });
}

Deno.test("parts stack, each with its own scales, groups and order", () => {
  using device = openCpuDevice({ threads: 2 });
  const random = new Random(3);
  const scheme = { packing: "gptq", bits: 4, columns: 192, groupSize: 32 } as const;
  const stack = (...parts: Partial<StoredScheme>[]) =>
    parts.map((part) => storedWeight(device, random, { ...scheme, rows: 24, ...part }));
  const cases: QuantizedMatrix[][] = [
    stack({ rows: 40 }, { rows: 8, symmetric: true }, { scaleDtype: "f32" }),
    stack({ actOrder: true }, { actOrder: true, rows: 40 }, { rows: 16 }),
    [
      ...stack({}),
      storedWeight(device, random, { ...scheme, packing: "awq", rows: 16, groupSize: 24 }),
    ],
  ];
  for (const parts of cases) {
    const w = parts.flatMap((part) => [...dequantize(part)]);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const bias = random.normals(rows);
    for (const tokens of [1, 5, 33]) {
      const x = ternary(random, tokens, 192);
      using weight = device.linearWeight(parts, "bf16");
      const input = new Matrix(device, tokens, 192, { values: x });
      const out = new Matrix(device, tokens, rows);
      device.linear(out.tensor, input.tensor, weight, tokens, { bias: vector(device, bias) });
      const want = product(x, w, 192).map((sum, i) => sum + bias[i % rows]);
      assertLess(relativeError(out.read(), want), 1e-6);
    }
  }
});

function dense(device: Device, values: Float32Array, columns: number): HostMatrix {
  return hostMatrix(device, values, { rows: values.length / columns, columns, dtype: "bf16" });
}

Deno.test("dense weights are quantised to the nearest", () => {
  using device = openCpuDevice({ threads: 2 });
  const random = new Random(8);
  for (const [rows, columns, blockSize] of [[21, 150, 0], [40, 300, 75], [16, 520, 0]]) {
    const values = rounded(random.normals(rows * columns, 0.02), "bf16");
    values.fill(0, columns, 2 * columns);
    const stored = dense(device, values, columns);
    for (const quantization of ["int8", "int4"] as const) {
      using weight = device.linearWeight([stored], "f32", { quantization, blockSize });
      assertEquals(weight.format, quantization);
      const got = weightsOf(device, weight);
      assertLess(relativeError(got, values), quantization === "int8" ? 0.008 : 0.085);
      assert(got.subarray(columns, 2 * columns).every((value) => value === 0));
      // No weight is further off than half a step of the longest range, or than what was cut off it.
      const range = Math.max(...values.map(Math.abs));
      const step = quantization === "int8" ? range / 127 : 2 * range / 15;
      assertClose(got, values, (quantization === "int8" ? 0.51 : 1.7) * step);

      const x = ternary(random, 4, columns);
      const integers = run(device, x, [stored], { quantization, blockSize });
      assertLess(relativeError(integers, product(x, got, columns)), 1e-6);
    }
  }
});

Deno.test("a table stays as it is beside its quantised panels", () => {
  using device = openCpuDevice({ threads: 1 });
  const values = new Random(1).normals(20 * 32);
  const options = { quantization: "int8", use: "both" } as const;
  using weight = device.linearWeight([dense(device, values, 32)], "bf16", options);
  const out = new Matrix(device, 2, 32);
  device.embedding(out.tensor, vector(device, Int32Array.of(19, 4)), weight, 2, 0);
  const rows = [...values.subarray(19 * 32), ...values.subarray(4 * 32, 5 * 32)];
  assertLess(relativeError(out.read(), rows), 0.003);
  const product = multiply(device, new Float32Array(32).fill(1), weight);
  assert(product.every((value) => Math.abs(value) < 40));
});

/** Operands of bit tests: odd sizes, segments of several lengths, two stacked parts. */
function bitCases(device: Device): { name: string; parts: WeightPart[]; options: WeightOptions }[] {
  const random = new Random(77);
  const columns = 328;
  const values = random.normals(45 * columns);
  const parts = [dense(device, values, columns)];
  const gptq = { packing: "gptq", bits: 4, rows: 45 * 8, columns, groupSize: 40 } as const;
  const awq = storedWeight(device, random, { ...gptq, packing: "awq" });
  return [
    { name: "int8", parts, options: { quantization: "int8" } },
    { name: "int4", parts, options: { quantization: "int4", blockSize: 41 } },
    { name: "awq", parts: [{ ...awq, firstRow: 3, rows: 45 }], options: { blockSize: 82 } },
    {
      name: "gptq",
      parts: [
        { ...storedWeight(device, random, { ...gptq, actOrder: true }), rows: 21 },
        { ...storedWeight(device, random, { ...gptq, actOrder: true }), rows: 24 },
      ],
      options: {},
    },
  ];
}

Deno.test("bits depend on neither batch nor threads nor tiles", () => {
  const tokens = 40, columns = 328;
  const x = new Random(5).normals(tokens * columns);
  using one = openCpuDevice({ threads: 1 });
  for (const { name, parts, options } of bitCases(one)) {
    for (const format of ["f32", "bf16"] as const) {
      const rows = parts.reduce((sum, part) => sum + part.rows, 0);
      using weight = one.linearWeight(parts, format, options);
      const alone = new Float32Array(tokens * rows);
      for (let t = 0; t < tokens; t++) {
        alone.set(multiply(one, x.subarray(t * columns, (t + 1) * columns), weight), t * rows);
      }
      for (let count = 1; count <= tokens; count++) {
        const got = multiply(one, x.subarray(0, count * columns), weight);
        assertSameBits(got, alone.subarray(0, count * rows), `${name} ${format} ${count}`);
      }
      // More than one round of prepared tokens, and several threads.
      using several = openCpuDevice({ threads: 3 });
      const many = new Float32Array(600 * columns).map((_, i) => x[i % x.length]);
      const got = run(several, many, parts, { ...options, format });
      assertSameBits(got, new Float32Array(600 * rows).map((_, i) => alone[i % alone.length]));
    }
  }
});

Deno.test("slices at any output, and of whole blocks of inputs, have the whole's bits", () => {
  using device = openCpuDevice({ threads: 2 });
  const random = new Random(12);
  const tokens = 3, rows = 48, columns = 320, blockSize = columns / 8;
  const x = random.normals(tokens * columns);
  const values = random.normals(rows * columns);
  const scheme = { bits: 4, rows, columns, groupSize: 32 } as const;
  const stored: QuantizedMatrix[] = [
    storedWeight(device, random, { ...scheme, packing: "awq" }),
    storedWeight(device, random, { ...scheme, packing: "gptq", actOrder: true }),
  ];
  const slicers: [WeightOptions, (rows: number[], columns: number[]) => WeightPart][] = [
    ...stored.map((matrix) =>
      [{}, ([firstRow, end], [firstColumn, last]) => ({
        ...matrix,
        firstRow,
        rows: end - firstRow,
        firstColumn,
        columns: last - firstColumn,
      })] as (typeof slicers)[number]
    ),
    ...(["int8", "int4"] as const).map((quantization) =>
      [{ quantization }, ([first, end], [begin, last]) =>
        dense(
          device,
          values.slice(first * columns, end * columns).filter((_, i) =>
            i % columns >= begin && i % columns < last
          ),
          last - begin,
        )] as (typeof slicers)[number]
    ),
  ];
  for (const [options, slice] of slicers) {
    for (const format of ["f32", "bf16"] as const) {
      const multiplyBy = (part: WeightPart, input: Float32Array) =>
        run(device, input, [part], { ...options, blockSize, format });
      const whole = multiplyBy(slice([0, rows], [0, columns]), x);
      for (const range of [[0, 24], [8, 40], [17, 18], [24, 48]]) {
        const got = multiplyBy(slice(range, [0, columns]), x);
        const want = whole.filter((_, i) => i % rows >= range[0] && i % rows < range[1]);
        assertSameBits(got, want, `rows ${range}`);
      }
      for (const ranks of [2, 4, 8]) {
        const share = columns / ranks;
        let partials = Array.from({ length: ranks }, (_, rank) =>
          multiplyBy(
            slice([0, rows], [rank * share, (rank + 1) * share]),
            x.filter((_, i) => Math.floor(i % columns / share) === rank),
          ));
        while (partials.length > 1) {
          partials = partials.filter((_, i) => i % 2 === 0)
            .map((left, i) => left.map((value, j) => value + partials[2 * i + 1][j]));
        }
        assertSameBits(partials[0], whole, `${ranks} ranks`);
      }
    }
  }
});

Deno.test("every instruction set computes the same bits, matrix tiles included", () => {
  const tokens = [1, 2, 3, 17, 40], columns = 328;
  const x = new Random(6).normals(40 * columns);
  const results = (device: Device) =>
    bitCases(device).flatMap(({ parts, options }) =>
      (["f32", "bf16"] as const).flatMap((format) =>
        tokens.map((count) =>
          run(device, x.subarray(0, count * columns), parts, { ...options, format })
        )
      )
    );
  using native = openCpuDevice({ threads: 2 });
  const expected = results(native);
  const check = (device: Device, set: string) =>
    results(device).forEach((result, i) => assertSameBits(result, expected[i], `${set} ${i}`));
  forEachInstructionSet({ threads: 2 }, check);
  const { native: flags } = instructionSetFlags();
  const twin = compileSources(withAmxTwin(CPU_SOURCES), flags.filter((flag) => !/amx/.test(flag)));
  using tiles = openCpuDevice({ threads: 2, libraryPath: twin });
  check(tiles, "matrix tiles");
});

Deno.test("gated and grouped products are those of single calls", () => {
  using device = openCpuDevice({ threads: 2 });
  const random = new Random(31);
  const columns = 96;
  // 64 rows are gated on the way, 40 and act-order ones in a pass of their own.
  for (const [size, actOrder] of [[32, false], [20, false], [32, true]] as const) {
    const scheme = { packing: "gptq", bits: 4, rows: 40, columns, groupSize: 32 } as const;
    const parts = [0, 1].map(() => ({
      ...storedWeight(device, random, { ...scheme, actOrder }),
      rows: size,
    }));
    using weight = device.linearWeight(parts, "bf16");
    const bias = random.normals(2 * size);
    for (const tokens of [1, 2, 7, 35]) {
      const x = new Matrix(device, tokens, columns, { values: random.normals(tokens * columns) });
      const out = new Matrix(device, tokens, size);
      const scratch = new Matrix(device, tokens, 2 * size).tensor;
      const options = { bias: vector(device, bias) };
      device.gatedLinear(out.tensor, x.tensor, weight, tokens, { ...options, scratch });
      const projected = new Matrix(device, tokens, 2 * size);
      device.linear(projected.tensor, x.tensor, weight, tokens, options);
      const want = new Matrix(device, tokens, size);
      device.siluAndMul(want.tensor, projected.tensor, tokens, size);
      assertSameBits(out.read(), want.read(), `${size} ${tokens}`);
    }
  }
  const experts = [0, 1, 2].map(() =>
    device.linearWeight([dense(device, random.normals(24 * columns), columns)], "bf16", {
      quantization: "int8",
    })
  );
  const x = random.normals(9 * columns);
  const input = new Matrix(device, 9, columns, { values: x });
  const out = new Matrix(device, 9, 24);
  const order = random.permutation(9);
  const offsets = [0, 2, 2, 9];
  device.groupedLinear(
    out.tensor,
    input.tensor,
    experts,
    vector(device, order),
    vector(device, Int32Array.from(offsets)),
    { pairs: 9, inputDivisor: 1 },
  );
  const got = out.read();
  order.forEach((token, i) => {
    const row = x.subarray(token * columns, (token + 1) * columns);
    const want = multiply(device, row, experts[i < 2 ? 0 : 2]);
    assertSameBits(got.slice(i * 24, (i + 1) * 24), want);
  });
});

Deno.test("extreme activations: zeros, one huge value, tiny ones, NaN and infinities", () => {
  using device = openCpuDevice({ threads: 1 });
  const columns = 320;
  const values = new Random(2).normals(19 * columns);
  for (const quantization of ["int8", "int4"] as const) {
    for (const tokens of [1, 8]) {
      const dim = tokens * columns;
      using weight = device.linearWeight([dense(device, values, columns)], "bf16", {
        quantization,
      });
      const of = (x: Float32Array) => multiply(device, x, weight);
      for (const nothing of [0, -0, 1e-40]) {
        const zeros = of(new Float32Array(dim).fill(nothing));
        assert(zeros.every((value) => Object.is(value, 0)), `${nothing}`);
      }
      const huge = new Float32Array(dim);
      for (let i = 7; i < dim; i += columns) huge[i] = 3e30;
      using exact = device.linearWeight([dense(device, values, columns)], "f32", { quantization });
      assertLess(relativeError(of(huge), multiply(device, huge, exact)), 1e-6);
      for (const wrong of [NaN, Infinity, -Infinity]) {
        const x = new Random(3).normals(dim);
        x[200] = wrong;
        const got = of(x);
        assert(got.subarray(0, 19).every((value) => Number.isNaN(value)), `${wrong}`);
        assert(got.subarray(19).every((value) => Number.isFinite(value)), `beside ${wrong}`);
      }
    }
  }
});

Deno.test("a weight that is not a number makes its output one that is not", () => {
  using device = openCpuDevice({ threads: 1 });
  const values = new Random(2).normals(3 * 64);
  values[70] = NaN;
  for (const quantization of ["int8", "int4"] as const) {
    const got = run(device, new Float32Array(64).fill(1), [dense(device, values, 64)], {
      quantization,
    });
    assertEquals(Array.from(got, (value) => Number.isNaN(value)), [false, true, false]);
  }
});

Deno.test("linearWeight refuses quantised parts that it cannot make a weight of", () => {
  using device = openCpuDevice({ threads: 1 });
  const random = new Random(1);
  const scheme = { packing: "gptq", rows: 8, columns: 64, groupSize: 32 } as const;
  const four = storedWeight(device, random, { ...scheme, bits: 4 });
  const eight = storedWeight(device, random, { ...scheme, bits: 8 });
  assertThrows(() => device.linearWeight([four, eight], "bf16"), TypeError, "int4 and int8");
  assertThrows(() => device.linearWeight([four], "bf16", { use: "both" }), TypeError, "look up");
  const wrong = vector(device, Int32Array.from({ length: 64 }, (_, k) => k === 40 ? 2 : 0));
  assertThrows(
    () => device.linearWeight([{ ...four, groupOfInput: wrong.address }], "bf16"),
    RangeError,
    "input 40 is not in one of 2 groups: its group is 2",
  );
});
