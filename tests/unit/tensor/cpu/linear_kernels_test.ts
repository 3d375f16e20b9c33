import { assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import type { HostMatrix, WeightOptions } from "../../../../src/tensor/linear_kernels.ts";
import type { WeightDType } from "../../../../src/tensor/dtype.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import { assertClose, assertSameBits, hostMatrix, Matrix, rounded, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";

const DTYPES: WeightDType[] = ["f32", "f16", "bf16"];

interface Problem {
  readonly tokens: number;
  readonly rows: number;
  readonly columns: number;
  readonly x: Float32Array<ArrayBuffer>;
  readonly w: Float32Array<ArrayBuffer>;
}

function problem(tokens: number, rows: number, columns: number): Problem {
  const random = new Random(tokens * 7919 + rows * 31 + columns);
  return {
    tokens,
    rows,
    columns,
    x: random.normals(tokens * columns),
    w: random.normals(rows * columns),
  };
}

/** Runs one linear on poisoned output. */
function run(
  device: Device,
  x: Float32Array,
  parts: readonly HostMatrix[],
  shape: { tokens: number; format?: WeightDType; offset?: number },
  options?: WeightOptions,
): Float32Array<ArrayBuffer> {
  const { tokens, format = "f32", offset = 0 } = shape;
  using weight = device.linearWeight(parts, format, options);
  const input = new Matrix(device, tokens, weight.inFeatures, { values: x, gap: 1, offset });
  const out = new Matrix(device, tokens, weight.outFeatures);
  device.linear(out.tensor, input.tensor, weight, tokens);
  return out.read();
}

function product({ x, tokens, rows, columns }: Problem, w: ArrayLike<number>): Float64Array {
  const out = new Float64Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[t * columns + k] * w[r * columns + k];
      out[t * rows + r] = sum;
    }
  }
  return out;
}

Deno.test("linear agrees with float64 for every format, shape and block size", () => {
  for (const threads of [1, 2]) {
    using device = openCpuDevice({ threads });
    for (const dtype of DTYPES) {
      for (const [tokens, rows, columns] of [[1, 1, 1], [1, 37, 83], [2, 19, 160], [7, 70, 257]]) {
        for (const blockSize of [0, 7, 20, 64]) {
          const p = problem(tokens, rows, columns);
          const stored = hostMatrix(device, p.w, { rows, columns, dtype });
          const got = run(device, p.x, [stored], { tokens, format: dtype }, { blockSize });
          // bf16 weights are multiplied with activations rounded to bf16.
          const x = dtype === "bf16" ? rounded(p.x, "bf16") : p.x;
          const want = product({ ...p, x }, rounded(p.w, dtype));
          assertClose(
            got,
            want,
            2e-5 * Math.sqrt(columns),
            `${dtype} ${tokens}x${rows}x${columns}`,
          );
        }
      }
    }
  }
});

Deno.test("linear adds the bias once and writes no more than its rows and columns", () => {
  using device = openCpuDevice({ threads: 2 });
  const p = problem(3, 21, 50);
  const weight = device.linearWeight(
    [hostMatrix(device, p.w, { rows: 21, columns: 50, dtype: "f32" })],
    "f32",
    { blockSize: 10 },
  );
  const bias = new Random(5).normals(21);
  const input = new Matrix(device, 3, 50, { values: p.x });
  const wide = new Matrix(device, 4, 40);
  device.linear(wide.tensor.columns(9, 21), input.tensor, weight, 2, {
    bias: vector(device, bias),
  });
  const got = wide.read();
  const want = product(p, p.w);
  got.forEach((value, i) => {
    const t = Math.floor(i / 40);
    const r = i % 40 - 9;
    const inside = t < 2 && r >= 0 && r < 21;
    const expected = inside ? want[t * 21 + r] + bias[r] : NaN;
    if (inside ? !(Math.abs(value - expected) < 1e-4) : !Number.isNaN(value)) {
      throw new Error(`element ${i} is ${value} instead of ${expected}`);
    }
  });
});

Deno.test("a weight may be stacked from parts of different types, strides and orders", () => {
  using device = openCpuDevice({ threads: 2 });
  const columns = 75;
  const sizes = [5, 1, 33];
  const parts = sizes.map((rows, i) => ({ ...problem(6, rows, columns), dtype: DTYPES[i] }));
  const p = problem(6, 39, columns);
  const whole = Float32Array.from(parts.flatMap(({ w, dtype }) => [...rounded(w, dtype)]));
  const stored = parts.map(({ w, rows, dtype }) => hostMatrix(device, w, { rows, columns, dtype }));
  const got = run(device, p.x, stored, { tokens: 6 });
  assertClose(got, product(p, whole), 2e-4);
  const one = hostMatrix(device, whole, { rows: 39, columns, dtype: "f32" });
  assertSameBits(got, run(device, p.x, [one], { tokens: 6 }), "parts against whole");

  // Stored [columns, rows], as GPT-2's are.
  const turned = Float32Array.from(whole, (_, i) => whole[i % 39 * columns + Math.floor(i / 39)]);
  const transposed = {
    ...hostMatrix(device, turned, { rows: columns, columns: 39, dtype: "f32" as const }),
    rows: 39,
    columns,
    transposed: true,
  };
  assertSameBits(run(device, p.x, [transposed], { tokens: 6 }), got, "transposed against whole");
});

Deno.test("a weight converts to the format that is asked for", () => {
  using device = openCpuDevice({ threads: 1 });
  const p = problem(2, 9, 40);
  const stored = hostMatrix(device, p.w, { rows: 9, columns: 40, dtype: "f32" });
  for (const format of ["f16", "bf16"] as const) {
    const kept = hostMatrix(device, p.w, { rows: 9, columns: 40, dtype: format });
    assertSameBits(
      run(device, p.x, [stored], { tokens: 2, format }),
      run(device, p.x, [kept], { tokens: 2, format }),
      format,
    );
  }
});

Deno.test("linear's bits depend on neither batch, threads, tiles nor alignment", () => {
  const rows = 45;
  const columns = 167;
  const tokens = 40;
  const p = problem(tokens, rows, columns);
  for (const dtype of DTYPES) {
    for (const blockSize of [0, 21]) {
      using one = openCpuDevice({ threads: 1 });
      const stored = hostMatrix(one, p.w, { rows, columns, dtype });
      // Each token alone, with aligned and unaligned inputs.
      const alone = new Float32Array(tokens * rows);
      for (let t = 0; t < tokens; t++) {
        const x = p.x.subarray(t * columns, (t + 1) * columns);
        const shape = { tokens: 1, format: dtype, offset: t % 4 };
        alone.set(run(one, x, [stored], shape, { blockSize }), t * rows);
      }
      for (const threads of [1, 2, 3]) {
        using device = openCpuDevice({ threads });
        for (let count = 1; count <= tokens; count += threads === 1 ? 1 : 13) {
          const shape = { tokens: count, format: dtype };
          const got = run(device, p.x, [stored], shape, { blockSize });
          assertSameBits(got, alone.subarray(0, count * rows), `${dtype} ${threads} ${count}`);
        }
        // One output row at a time.
        for (const row of [0, 17, rows - 1]) {
          const skip = BigInt(row * stored.rowStride * (dtype === "f32" ? 4 : 2));
          const part = { ...stored, address: stored.address + skip, rows: 1 };
          const got = run(device, p.x, [part], { tokens, format: dtype }, { blockSize });
          assertSameBits(got, alone.filter((_, i) => i % rows === row), `row ${row}`);
        }
      }
    }
  }
});

Deno.test("partial products over ranks, added by the tree, are the whole product's bits", () => {
  using device = openCpuDevice({ threads: 2 });
  for (const columns of [160, 576, 8]) {
    const p = problem(3, 21, columns);
    const blockSize = columns / 8;
    for (const dtype of DTYPES) {
      const stored = hostMatrix(device, p.w, { rows: 21, columns, dtype });
      const whole = run(device, p.x, [stored], { tokens: 3, format: dtype }, { blockSize });
      for (const ranks of [2, 4, 8]) {
        const share = columns / ranks;
        let partials = Array.from({ length: ranks }, (_, rank) => {
          const skip = BigInt(rank * share * (dtype === "f32" ? 4 : 2));
          const slice = { ...stored, address: stored.address + skip, columns: share };
          const x = p.x.filter((_, i) => Math.floor(i % columns / share) === rank);
          return run(device, x, [slice], { tokens: 3, format: dtype }, { blockSize });
        });
        while (partials.length > 1) {
          partials = partials.filter((_, i) => i % 2 === 0)
            .map((left, i) => left.map((value, j) => value + partials[2 * i + 1][j]));
        }
        assertSameBits(partials[0], whole, `${dtype} ${columns} on ${ranks} ranks`);
      }
    }
  }
});

Deno.test("linear in f32 and f16 gives the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 2 });
  forEachInstructionSet({ threads: 2 }, (device, set) => {
    for (const tokens of [1, 2, 5]) {
      const p = problem(tokens, 23, 151);
      for (const dtype of ["f32", "f16"] as const) {
        const stored = (device: Device) =>
          hostMatrix(device, p.w, { rows: 23, columns: 151, dtype });
        for (const blockSize of [0, 19]) {
          assertSameBits(
            run(device, p.x, [stored(device)], { tokens, format: dtype }, { blockSize }),
            run(native, p.x, [stored(native)], { tokens, format: dtype }, { blockSize }),
            `${set} ${dtype}`,
          );
        }
      }
    }
  });
});

Deno.test("linear and linearWeight refuse sizes that do not fit", () => {
  using device = openCpuDevice({ threads: 1 });
  const p = problem(2, 4, 8);
  const stored = hostMatrix(device, p.w, { rows: 4, columns: 8, dtype: "f32" });
  const weight = device.linearWeight([stored], "f32");
  const x = new Matrix(device, 2, 8, { values: p.x }).tensor;
  const out = new Matrix(device, 2, 4).tensor;
  const bias = vector(device, new Float32Array(3));
  for (
    const wrong of [
      () => device.linear(out, x, weight, 3),
      () => device.linear(out, x, weight, 1.5),
      () => device.linear(out, x, weight, -1),
      () => device.linear(out.columns(0, 3), x, weight, 2),
      () => device.linear(out, x.columns(0, 7), weight, 2),
      () => device.linear(out, x, weight, 2, { bias }),
      () => device.linearWeight([stored], "f32", { blockSize: 2 ** 31 }),
      () => device.linearWeight([], "f32"),
      () => device.linearWeight([stored, { ...stored, columns: 7 }], "f32"),
      () => device.linearWeight([{ ...stored, rowStride: 7 }], "f32"),
      () => device.linearWeight([{ ...stored, rows: -1 }], "f32"),
    ]
  ) assertThrows(wrong, RangeError);
  assertThrows(() => device.linearWeight([{ ...stored, dtype: "i32" }], "f32"), TypeError);
  using other = { ...weight, [Symbol.dispose]() {} };
  assertThrows(() => device.linear(out, x, other, 2), TypeError, "another device");
});
