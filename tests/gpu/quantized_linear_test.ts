import { assert, assertEquals } from "@std/assert";
import { MAX_PACKED_ROWS } from "../../src/tensor/cuda/quantized_linear.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { dequantize } from "../unit/tensor/_dequantize.ts";
import { assertSameBits, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";
import { check, product, run, STORED } from "./_quantized_product.ts";
import { storedWeight } from "./_stored_weight.ts";
import { assertRounded, ROUNDING } from "./_tolerance.ts";

const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
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

Deno.test("quantised products on CUDA read rows that shared memory cannot hold", async () => {
  using device = await openTestDevice();
  const stored = { packing: "signed", dtype: "int8", groupSize: 128 } as const;
  const matrix = storedWeight(device, { ...stored, rows: 3, columns: 10_248 });
  using weight = device.linearWeight([matrix], "bf16");
  check(device, weight, dequantize(matrix), { tokens: 8, dtype: "bf16" }, { what: "long rows" });
});
