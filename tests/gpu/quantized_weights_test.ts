import { assert, assertEquals, assertThrows } from "@std/assert";
import { addressOf } from "../../src/native/c_declarations.ts";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { QuantizedMatrix } from "../../src/tensor/linear_kernels.ts";
import { dequantize } from "../unit/tensor/_dequantize.ts";
import { assertSameBits, hostMatrix, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";
import { check, product, run, STORED } from "./_quantized_product.ts";
import { storedWeight } from "./_stored_weight.ts";
import { assertRounded } from "./_tolerance.ts";

const SIGNED = { packing: "signed", dtype: "int8", groupSize: 32 } as const;

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
