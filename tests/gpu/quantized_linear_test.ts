import { assert, assertEquals, assertThrows } from "@std/assert";
import { addressOf } from "../../src/native/c_declarations.ts";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import { MAX_PACKED_ROWS } from "../../src/tensor/cuda/quantized_linear.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import type {
  LinearOptions,
  LinearWeight,
  QuantizedMatrix,
} from "../../src/tensor/linear_kernels.ts";
import { dequantize } from "../unit/tensor/_dequantize.ts";
import { assertSameBits, hostMatrix, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";
import { storedWeight, type StoredWeightOptions } from "./_stored_weight.ts";
import { assertRounded, ROUNDING } from "./_tolerance.ts";

const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

/** What checkpoints have; rows and columns are multiplied by what the packing asks for. */
const STORED: readonly Omit<StoredWeightOptions, "rows" | "columns">[] = [
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

const SIGNED = { packing: "signed", dtype: "int8", groupSize: 32 } as const;

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** `x [tokens, columns] * w [rows, columns]^T` in float64. */
function product(x: Float32Array, w: ArrayLike<number>, tokens: number, columns: number) {
  const rows = w.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += x[t * columns + k] * w[r * columns + k];
    return sum;
  });
}

/** One linear on poisoned output. */
function run(
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

function check(
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

Deno.test("CUDA linear multiplies what checkpoints store in 4 and 8 bits, for few and many rows", async () => {
  using device = await openTestDevice();
  for (const [index, stored] of STORED.entries()) {
    const [rows, columns] = [[24, 320], [72, 128], [40, 160]][index % 3];
    const matrix = storedWeight(device, { ...stored, rows, columns });
    const numbers = dequantize(matrix);
    for (const dtype of DTYPES) {
      using weight = device.linearWeight([matrix], dtype);
      assertEquals(weight.format, stored.dtype);
      const tokens = [[1, 8, 33], [3, 17], [5, 9, 70]][(index + DTYPES.indexOf(dtype)) % 3];
      for (const [i, count] of tokens.entries()) {
        const out = i % 2 === 0 ? "f32" : dtype;
        const layout = [{ gap: 8 }, { gap: 3, offset: 1 }][i % 2];
        const what = JSON.stringify(stored);
        check(device, weight, numbers, { tokens: count, dtype, out }, { what, ...layout });
      }
    }
  }
});

Deno.test("CUDA linear divides the inputs of quantised weights, or makes them dense, as rows ask for", async () => {
  using device = await openTestDevice();
  for (
    const [packing, dtype, format] of [
      ["awq", "int4", "bf16"],
      ["signed", "int8", "f16"],
    ] as const
  ) {
    const options = { packing, dtype, groupSize: 128, zeros: packing === "awq" };
    const matrix = storedWeight(device, { ...options, rows: 40, columns: 1200 });
    const numbers = dequantize(matrix);
    using weight = device.linearWeight([matrix], format);
    for (const tokens of [2, 12, 65, MAX_PACKED_ROWS + 1]) {
      const what = `${packing} in parts`;
      check(device, weight, numbers, { tokens, dtype: format, out: format }, { what });
    }
  }
});

Deno.test("CUDA linear takes any number of rows from 1 to 40 of quantised weights", async () => {
  using device = await openTestDevice();
  const matrix = storedWeight(device, {
    packing: "gptq",
    dtype: "int4",
    groupSize: 64,
    rows: 8,
    columns: 64,
  });
  const numbers = dequantize(matrix);
  using weight = device.linearWeight([matrix], "bf16");
  for (let tokens = 1; tokens <= 40; tokens++) {
    check(device, weight, numbers, { tokens, dtype: "bf16" }, { what: "rows" });
  }
});

Deno.test("slices of quantised weights for CUDA begin and end anywhere, inside of groups and words", async () => {
  using device = await openTestDevice();
  const slices = [
    { firstRow: 3, rows: 30, firstColumn: 0, columns: 256 },
    { firstRow: 0, rows: 48, firstColumn: 64, columns: 128 },
    { firstRow: 13, rows: 9, firstColumn: 72, columns: 83 },
  ];
  for (const stored of STORED.filter((_, i) => i % 2 === 0)) {
    const matrix = storedWeight(device, { ...stored, rows: 48, columns: 256 });
    for (const slice of slices) {
      const part: QuantizedMatrix = { ...matrix, ...slice };
      using weight = device.linearWeight([part], "bf16");
      const what = JSON.stringify([stored, slice]);
      for (const tokens of [2, 11]) {
        check(device, weight, dequantize(part), { tokens, dtype: "bf16" }, { what });
      }
    }
  }
});

Deno.test("quantised parts are stacked on CUDA whether their inputs have one order or several", async () => {
  using device = await openTestDevice();
  const gptq = { packing: "gptq", dtype: "int4", columns: 128, zeros: true } as const;
  const parts = [
    storedWeight(device, { ...gptq, rows: 16, groupSize: 32, actOrder: true, seed: 1 }),
    storedWeight(device, { ...gptq, rows: 24, groupSize: 32, actOrder: true, seed: 2 }),
    storedWeight(device, { ...gptq, rows: 8, groupSize: 32, seed: 3 }),
    storedWeight(device, { ...gptq, rows: 16, groupSize: 32, scaleDtype: "bf16", seed: 4 }),
  ];
  const numbers = parts.flatMap((part) => [...dequantize(part)]);
  for (const dtype of ["f32", "f16"] as const) {
    using weight = device.linearWeight(parts, dtype);
    for (const tokens of [4, 10]) {
      check(device, weight, numbers, { tokens, dtype, out: dtype }, { what: "stacked" });
    }
  }
});

Deno.test("CUDA quantises dense weights: int8 to half a step of 127, int4 to half a step of 15", async () => {
  using device = await openTestDevice();
  using host = openCpuDevice({ threads: 1 });
  for (const [blockSize, columns, transposed] of [[0, 200, false], [72, 144, true]] as const) {
    const rows = 21;
    const numbers = new Random(columns).normals(rows * columns, 0.05);
    numbers.fill(0, 0, columns);
    const turned = numbers.map((_, i) => numbers[i % rows * columns + Math.floor(i / rows)]);
    const stored = transposed
      ? {
        ...hostMatrix(host, turned, { rows: columns, columns: rows, dtype: "bf16" }),
        rows,
        columns,
        transposed,
      }
      : hostMatrix(host, numbers, { rows, columns, dtype: "bf16" });
    const exact = rounded(numbers, "bf16");
    // The identity gives the weight back, column by column.
    const identity = new Float32Array(columns * columns);
    for (let k = 0; k < columns; k++) identity[k * columns + k] = 1;
    for (const quantization of ["int8", "int4"] as const) {
      using weight = device.linearWeight([stored], "f32", { quantization, blockSize });
      assertEquals(weight.format, quantization);
      const shape = { tokens: columns, dtype: "f32" } as const;
      const got = run(device, identity, weight, shape);
      const [size, steps] = quantization === "int8" ? [128, 127] : [32, 15];
      const block = blockSize || columns;
      for (let row = 0; row < rows; row++) {
        for (let first = 0; first < columns;) {
          const end = Math.min(first + size, (Math.floor(first / block) + 1) * block, columns);
          const group = exact.subarray(row * columns + first, row * columns + end);
          const [least, largest] = [Math.min(0, ...group), Math.max(0, ...group)];
          const range = quantization === "int8" ? Math.max(-least, largest) : largest - least;
          // A zero of int4 is rounded as well, which may move its ends by half a step.
          const allowed = (quantization === "int8" ? 0.5001 : 1.001) * range / steps;
          group.forEach((number, i) => {
            const made = got[(first + i) * rows + row];
            const what = `${quantization}, row ${row}, input ${first + i}`;
            assert(Math.abs(made - number) <= allowed, `${what}: ${made} for ${number}`);
          });
          first = end;
        }
      }
      const what = `${quantization}, blocks of ${blockSize}`;
      const numbersMade = Float64Array.from(
        { length: rows * columns },
        (_, i) => got[i % columns * rows + Math.floor(i / columns)],
      );
      for (const dtype of ["bf16", "f16"] as const) {
        using narrow = device.linearWeight([stored], dtype, { quantization, blockSize });
        check(device, narrow, numbersMade, { tokens: 5, dtype }, { what });
      }
    }
  }
});

Deno.test("quantised products on CUDA add the bias, apply GELU, and write their rows and columns only", async () => {
  using device = await openTestDevice();
  const gptq = { packing: "gptq", dtype: "int4", groupSize: 32, columns: 1088 } as const;
  // The second part has its inputs in another order, so that there are two products.
  const parts = [
    storedWeight(device, { ...gptq, rows: 16 }),
    storedWeight(device, { ...gptq, rows: 5, actOrder: true }),
  ];
  const numbers = parts.flatMap((part) => [...dequantize(part)]).map((number) => number / 30);
  const columns = 1088;
  const bias = new Random(1).normals(21);
  using weight = device.linearWeight(parts, "bf16");
  for (const tokens of [3, 10, MAX_PACKED_ROWS + 3]) {
    const x = rounded(new Random(tokens).normals(tokens * columns, 1 / 30), "bf16");
    const sums = product(x, numbers, tokens, columns).map((sum, i) => 30 * sum + bias[i % 21]);
    const input = new Matrix(device, tokens, columns, { values: x, dtype: "bf16" });
    for (const activation of [undefined, "gelu"] as const) {
      for (const dtype of ["f32", "bf16"] as const) {
        const wide = new Matrix(device, tokens + 1, 40, { dtype });
        const options = { bias: vector(device, bias), activation };
        device.linear(wide.tensor.columns(9, 21), input.tensor, weight, tokens, options);
        const got = wide.read();
        const isInside = (i: number) => i < tokens * 40 && i % 40 >= 9 && i % 40 < 30;
        const what = `${tokens} rows to ${dtype}, ${activation}`;
        const tolerance = 1e-4 + (tokens > MAX_PACKED_ROWS ? 0.02 : 0);
        const want = activation === "gelu" ? sums.map(gelu) : sums;
        assertRounded(got.filter((_, i) => isInside(i)), want, { dtype, tolerance, what });
        assert(got.every((value, i) => isInside(i) || Number.isNaN(value)), what);
      }
    }
  }
});

Deno.test("gatedLinear of quantised weights on CUDA is silu(g) * u", async () => {
  using device = await openTestDevice();
  const awq = { packing: "awq", dtype: "int4", groupSize: 128, zeros: true } as const;
  for (const dtype of DTYPES) {
    for (const [tokens, size, columns] of [[1, 80, 128], [8, 24, 200], [11, 16, 136]]) {
      const parts = [1, 2].map((seed) =>
        storedWeight(device, { ...awq, rows: size, columns, seed })
      );
      const numbers = parts.flatMap((part) => [...dequantize(part)]);
      const x = rounded(new Random(size).normals(tokens * columns, 0.05), dtype);
      const bias = new Random(3).normals(2 * size, 0.1);
      const sums = product(x, numbers, tokens, columns).map((sum, i) => sum + bias[i % (2 * size)]);
      using weight = device.linearWeight(parts, dtype);
      const input = new Matrix(device, tokens, columns, { values: x, dtype, gap: 8 });
      const out = new Matrix(device, tokens, size, { dtype });
      const scratch = new Matrix(device, tokens, 2 * size, { dtype }).tensor;
      const options = { scratch, bias: vector(device, bias) };
      device.gatedLinear(out.tensor, input.tensor, weight, tokens, options);
      const want = Array.from({ length: tokens * size }, (_, i) => {
        const [t, output] = [Math.floor(i / size), i % size];
        return silu(sums[t * 2 * size + output]) * sums[t * 2 * size + size + output];
      });
      // The passes for many rows round both factors to the type of the scratch memory.
      const unit = dtype === "f32" ? 0 : ROUNDING[dtype];
      const tolerance = 5e-5 + (tokens > 8 ? 16 * unit : 0);
      const what = `${dtype}, ${tokens} x ${size} x ${columns}`;
      assertRounded(out.read(), want, { dtype, tolerance, what });
    }
  }
});

Deno.test("a decoded row has the same bits in any batch of decoded rows, with quantised weights too", async () => {
  using device = await openTestDevice();
  const [rows, columns] = [40, 640];
  for (const dtype of DTYPES) {
    const stored = { packing: "awq", dtype: "int4", groupSize: 32, zeros: true } as const;
    const matrix = storedWeight(device, { ...stored, rows, columns });
    using weight = device.linearWeight([matrix], dtype);
    using part = device.linearWeight([{ ...matrix, firstRow: 20, rows: 1 }], dtype);
    const x = rounded(new Random(3).normals(8 * columns), dtype);
    const all = run(device, x, weight, { tokens: 8, dtype });
    const last = run(device, x.subarray(7 * columns), weight, { tokens: 1, dtype });
    assertSameBits(last, all.subarray(7 * rows), `${dtype}, 1 of 8`);
    const one = run(device, x, part, { tokens: 8, dtype });
    assertSameBits(one, all.filter((_, i) => i % rows === 20), `${dtype}, one output`);
  }
});

Deno.test("a weight on CUDA that serves products and look-ups has its rows twice, and frees both", async () => {
  {
    using device = await openTestDevice();
    using host = openCpuDevice({ threads: 1 });
    const [rows, columns] = [7, 64];
    const table = rounded(new Random(1).normals(rows * columns), "bf16");
    const stored = hostMatrix(host, table, { rows, columns, dtype: "bf16" });
    const options = { quantization: "int8", use: "both" } as const;
    using weight = device.linearWeight([stored], "bf16", options);
    const out = new Matrix(device, 2, columns);
    device.embedding(out.tensor, vector(device, Int32Array.of(3, 9)), weight, 2, 3);
    const want = new Float32Array(2 * columns);
    want.set(table.subarray(0, columns));
    want.set(table.subarray(6 * columns), columns);
    assertSameBits(out.read(), want, "rows");
    const x = rounded(new Random(2).normals(columns), "bf16");
    const got = run(device, x, weight, { tokens: 1, dtype: "bf16" });
    assertRounded(got, product(x, table, 1, columns), {
      dtype: "f32",
      tolerance: 0.3,
      what: "sums",
    });
    using lookUps = device.linearWeight([stored], "bf16", { quantization: "int8", use: "table" });
    assertEquals(lookUps.format, "bf16");
    const wrong = { ...storedWeight(device, { ...SIGNED, rows, columns }), groupOfInput: 0n };
    assertThrows(() => device.linearWeight([wrong], "bf16"), RangeError, "null");
  }
  await assertNothingLeft();
});

Deno.test("CUDA refuses quantised weights that make no sense, and what they cannot do", async () => {
  using device = await openTestDevice();
  using host = openCpuDevice({ threads: 1 });
  const matrix = storedWeight(device, { ...SIGNED, rows: 4, columns: 64 });
  const groups = addressOf(new Int32Array(64).fill(5));
  for (
    const wrong of [
      { ...matrix, packing: "awq" as const },
      { ...matrix, dtype: "int4" as const },
      { ...matrix, zeros: matrix.values },
      { ...matrix, packing: "gptq" as const, storedColumns: 63, columns: 63 },
      { ...matrix, packing: "gptq" as const, storedRows: 3, rows: 3, zeros: matrix.values },
      { ...matrix, groupOfInput: groups },
    ]
  ) assertThrows(() => device.linearWeight([wrong], "bf16"), RangeError);
  assertThrows(() => device.linearWeight([matrix], "bf16", { use: "both" }), TypeError, "look");
  using weight = device.linearWeight([matrix], "bf16");
  const x = new Matrix(device, 2, 64, { dtype: "bf16" }).tensor;
  const out = new Matrix(device, 2, 64).tensor;
  const halves = new Matrix(device, 2, 4, { dtype: "f16" }).tensor;
  assertThrows(() => device.linear(halves, x, weight, 2), RangeError, "f32 or bf16");
  const ids = vector(device, new Int32Array(2));
  assertThrows(() => device.embedding(out, ids, weight, 2, 0), TypeError, "not kept");
  using foreign = host.linearWeight([hostMatrix(host, new Float32Array(256), {
    rows: 4,
    columns: 64,
    dtype: "f32",
  })], "f32");
  assertThrows(() => device.linear(out, x, foreign, 2), TypeError, "another device");
});
