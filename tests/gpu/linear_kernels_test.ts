import { assertThrows } from "@std/assert";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import type { HostMatrix, LinearOptions } from "../../src/tensor/linear_kernels.ts";
import { assertSameBits, hostMatrix, Matrix, rounded, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";
import { assertRounded } from "./_tolerance.ts";

const DTYPES: WeightDType[] = ["f32", "bf16", "f16"];

/** Rows that vectors can be read from, and rows at odd addresses. */
const LAYOUTS = [{ gap: 8, offset: 0 }, { gap: 3, offset: 1 }];

/** The GPU, and host memory that checkpoints could be mapped to. */
async function openDevices(): Promise<{ device: Device; host: Device } & Disposable> {
  const host = openCpuDevice({ threads: 1 });
  const device = await openTestDevice();
  return {
    device,
    host,
    [Symbol.dispose]() {
      device[Symbol.dispose]();
      host[Symbol.dispose]();
    },
  };
}

/** `x [tokens, columns] * w [rows, columns]^T` in float64. */
function product(
  x: Float32Array,
  w: Float32Array,
  { tokens, rows, columns }: { tokens: number; rows: number; columns: number },
): Float64Array {
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += x[t * columns + k] * w[r * columns + k];
    return sum;
  });
}

function gelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** One linear on poisoned output. */
function run(
  device: Device,
  x: Float32Array,
  parts: readonly HostMatrix[],
  shape: { tokens: number; format: WeightDType; xDtype?: WeightDType; out?: WeightDType },
  options: LinearOptions & { gap?: number; offset?: number } = {},
): Float32Array<ArrayBuffer> {
  const { tokens, format, xDtype = format, out: dtype = "f32" } = shape;
  const { gap, offset, ...linearOptions } = options;
  using weight = device.linearWeight(parts, format);
  const layout = { gap, offset, dtype: xDtype };
  const input = new Matrix(device, tokens, weight.inFeatures, { ...layout, values: x });
  const out = new Matrix(device, tokens, weight.outFeatures, { dtype });
  device.linear(out.tensor, input.tensor, weight, tokens, linearOptions);
  return out.read();
}

Deno.test("CUDA linear agrees with float64 for few and many rows, at any size and stride", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  for (const format of DTYPES) {
    for (
      const [tokens, rows, columns] of [
        [1, 1, 1],
        [1, 37, 90],
        [2, 300, 64],
        [5, 19, 160],
        [8, 40, 1544],
        [9, 21, 72],
        [33, 50, 83],
      ]
    ) {
      const random = new Random(tokens * 31 + columns);
      const x = rounded(random.normals(tokens * columns), format);
      const w = rounded(random.normals(rows * columns), format);
      const stored = hostMatrix(host, w, { rows, columns, dtype: format });
      const want = product(x, w, { tokens, rows, columns });
      for (const layout of LAYOUTS) {
        for (const out of format === "f32" ? [format] : ["f32" as const, format]) {
          const got = run(device, x, [stored], { tokens, format, out }, layout);
          assertRounded(got, want, {
            dtype: out,
            tolerance: 2e-6 * Math.sqrt(columns) * Math.log2(columns + 2),
            what: `${format} to ${out}, ${tokens}x${rows}x${columns}, offset ${layout.offset}`,
          });
        }
      }
    }
  }
});

Deno.test("CUDA linear rounds inputs of another type to the weight's", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const columns = 70;
  for (const tokens of [3, 12]) {
    const random = new Random(tokens);
    const [x, w] = [random.normals(tokens * columns), random.normals(11 * columns)];
    const stored = hostMatrix(host, w, { rows: 11, columns, dtype: "f32" });
    for (const format of DTYPES) {
      const alike = run(device, rounded(x, format), [stored], { tokens, format });
      const got = run(device, x, [stored], { tokens, format, xDtype: "f32" });
      assertSameBits(got, alike, `f32 to ${format}`);
    }
    const got = run(device, x, [stored], { tokens, format: "f32", xDtype: "bf16" });
    const want = run(device, rounded(x, "bf16"), [stored], { tokens, format: "f32" });
    assertSameBits(got, want, "bf16 to f32");
  }
});

Deno.test("CUDA linear adds the bias, applies GELU, and writes its rows and columns only", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const shape = { rows: 21, columns: 56 };
  for (const format of DTYPES) {
    for (const tokens of [2, 10]) {
      const random = new Random(tokens);
      const x = rounded(random.normals(tokens * shape.columns), format);
      const w = rounded(random.normals(shape.rows * shape.columns, 0.3), format);
      const bias = random.normals(shape.rows);
      using weight = device.linearWeight(
        [hostMatrix(host, w, { ...shape, dtype: format })],
        format,
      );
      const input = new Matrix(device, tokens, shape.columns, { values: x, dtype: format });
      const sums = product(x, w, { ...shape, tokens }).map((sum, i) => sum + bias[i % shape.rows]);
      for (const dtype of ["f32", format] as const) {
        for (const activation of [undefined, "gelu"] as const) {
          const wide = new Matrix(device, tokens + 1, 40, { dtype });
          const options = { bias: vector(device, bias), activation };
          device.linear(wide.tensor.columns(9, 21), input.tensor, weight, tokens, options);
          const got = wide.read();
          const isInside = (i: number) => i < tokens * 40 && i % 40 >= 9 && i % 40 < 30;
          const inside = got.filter((_, i) => isInside(i));
          const outside = got.filter((_, i) => !isInside(i));
          const want = activation === "gelu" ? sums.map(gelu) : sums;
          const what = `${format} to ${dtype}, ${tokens} rows, ${activation}`;
          assertRounded(inside, want, { dtype, tolerance: 2e-5, what });
          if (!outside.every(Number.isNaN)) throw new Error(`${what}: written outside`);
        }
      }
    }
  }
});

Deno.test("CUDA linear reads rows that shared memory cannot hold", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const shape = { tokens: 8, rows: 3, columns: 14_344 };
  const random = new Random(1);
  const x = rounded(random.normals(shape.tokens * shape.columns, 0.1), "bf16");
  const w = rounded(random.normals(shape.rows * shape.columns, 0.1), "bf16");
  const stored = hostMatrix(host, w, { ...shape, dtype: "bf16" });
  const got = run(device, x, [stored], { tokens: shape.tokens, format: "bf16" }, { gap: 0 });
  assertRounded(got, product(x, w, shape), { dtype: "f32", tolerance: 1e-5, what: "long rows" });
});

Deno.test("CUDA linear of a decoded row has the same bits in any batch of decoded rows", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const [rows, columns] = [23, 600];
  for (const format of DTYPES) {
    const random = new Random(3);
    const x = rounded(random.normals(8 * columns), format);
    const w = random.normals(rows * columns);
    const stored = hostMatrix(host, w, { rows, columns, dtype: "f32" });
    const all = run(device, x, [stored], { tokens: 8, format });
    for (const tokens of [1, 3]) {
      const first = 8 - tokens;
      const got = run(device, x.subarray(first * columns), [stored], { tokens, format });
      assertSameBits(got, all.subarray(first * rows), `${format}, ${tokens} of 8`);
    }
    // One output by itself.
    const part = {
      ...stored,
      address: stored.address + BigInt(4 * 20 * stored.rowStride),
      rows: 1,
    };
    const got = run(device, x, [part], { tokens: 8, format });
    assertSameBits(got, all.filter((_, i) => i % rows === 20), `${format}, one output`);
  }
});

Deno.test("CUDA weights are stacked from parts of any type, stride and order", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const columns = 75;
  const parts = [5, 1, 33].map((rows, i) => {
    const dtype = DTYPES[i];
    const values = rounded(new Random(rows).normals(rows * columns), dtype);
    return { values, stored: hostMatrix(host, values, { rows, columns, dtype }) };
  });
  const whole = Float32Array.from(parts.flatMap(({ values }) => [...values]));
  const turned = Float32Array.from(whole, (_, i) => whole[i % 39 * columns + Math.floor(i / 39)]);
  const x = new Random(8).normals(2 * columns);
  for (const format of DTYPES) {
    const shape = { rows: 39, columns };
    const want = run(device, x, [hostMatrix(host, whole, { ...shape, dtype: "f32" })], {
      tokens: 2,
      format,
    });
    const stacked = parts.map(({ stored }) => stored);
    assertSameBits(run(device, x, stacked, { tokens: 2, format }), want, `${format}: parts`);
    const stored = hostMatrix(host, turned, { rows: columns, columns: 39, dtype: "f32" });
    const transposed = { ...stored, ...shape, transposed: true };
    assertSameBits(run(device, x, [transposed], { tokens: 2, format }), want, `${format}: turned`);
    // Nothing between the rows of an aligned and of a padded matrix.
    for (const width of [64, 75]) {
      const values = rounded(new Random(width).normals(4 * width), format);
      const tight = hostMatrix(host, values, { rows: 4, columns: width, dtype: format, gap: 0 });
      const got = run(device, x, [tight], { tokens: 1, format });
      const rows = product(rounded(x, format), values, { tokens: 1, rows: 4, columns: width });
      assertRounded(got, rows, { dtype: "f32", tolerance: 1e-5, what: `${format}: ${width}` });
    }
  }
});

Deno.test("CUDA gatedLinear is silu(g) * u, fused for few rows and in two passes for many", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  for (const format of DTYPES) {
    for (const [tokens, size, columns] of [[1, 300, 64], [3, 21, 90], [8, 8, 520], [11, 21, 72]]) {
      const random = new Random(size);
      const x = rounded(random.normals(tokens * columns), format);
      const w = rounded(random.normals(2 * size * columns, 1 / Math.sqrt(columns)), format);
      const bias = random.normals(2 * size, 0.1);
      const stored = hostMatrix(host, w, { rows: 2 * size, columns, dtype: format });
      using weight = device.linearWeight([stored], format);
      const input = new Matrix(device, tokens, columns, { values: x, dtype: format, gap: 8 });
      const sums = product(x, w, { tokens, rows: 2 * size, columns });
      for (const withBias of [false, true]) {
        const out = new Matrix(device, tokens, size, { dtype: format });
        const scratch = new Matrix(device, tokens, 2 * size, { dtype: format }).tensor;
        const options = { scratch, bias: withBias ? vector(device, bias) : undefined };
        device.gatedLinear(out.tensor, input.tensor, weight, tokens, options);
        const value = (t: number, i: number) => sums[t * 2 * size + i] + (withBias ? bias[i] : 0);
        const want = Array.from({ length: tokens * size }, (_, i) => {
          const [t, output] = [Math.floor(i / size), i % size];
          return silu(value(t, output)) * value(t, size + output);
        });
        // The passes for many rows round both factors to the type of the scratch memory.
        const unit = { f32: 0, f16: 2 ** -11, bf16: 2 ** -8 }[format];
        const tolerance = 2e-5 + (tokens > 8 ? 16 * unit : 0);
        const what = `${format}, ${tokens}x${size}x${columns}, bias ${withBias}`;
        assertRounded(out.read(), want, { dtype: format, tolerance, what });
      }
    }
  }
});

Deno.test("CUDA embedding reads rows of the shard, and zeros for other ids", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const ids = [0, 9, 10, 3, 2, -1, 0x7fffffff, -0x80000000, 7];
  for (const dtype of DTYPES) {
    for (const columns of [1, 30, 64]) {
      const table = rounded(new Random(columns).normals(7 * columns), dtype);
      const stored = hostMatrix(host, table, { rows: 7, columns, dtype });
      using weight = device.linearWeight([stored], dtype);
      const out = new Matrix(device, ids.length + 1, columns);
      const idTensor = vector(device, Int32Array.from(ids));
      device.embedding(out.tensor, idTensor, weight, ids.length, 3);
      const want = ids.flatMap((id) => {
        const row = id - 3;
        if (row < 0 || row >= 7) return new Array<number>(columns).fill(0);
        return [...table.subarray(row * columns, (row + 1) * columns)];
      });
      assertSameBits(out.read(ids.length), Float32Array.from(want), `${dtype} ${columns}`);
    }
  }
});

Deno.test("CUDA vectors are f32 whatever they are stored as", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  for (const dtype of DTYPES) {
    const values = rounded(new Random(2).normals(101), dtype);
    const { address } = hostMatrix(host, values, { rows: 1, columns: 101, dtype });
    using tensor = device.vector({ address, dtype, length: 101 });
    assertSameBits(tensor.download(new Float32Array(101)), values, dtype);
  }
});

Deno.test("CUDA weights and vectors free what they take", async () => {
  {
    using devices = await openDevices();
    const { device, host } = devices;
    const stored = hostMatrix(host, new Float32Array(12), { rows: 3, columns: 4, dtype: "f32" });
    for (let i = 0; i < 3; i++) {
      using _weight = device.linearWeight([stored], "bf16");
      using _vector = device.vector({ address: stored.address, dtype: "bf16", length: 4 });
    }
    const wrong = { ...stored, address: 0n };
    assertThrows(() => device.linearWeight([wrong], "f32"), RangeError, "null");
  }
  await assertNothingLeft();
});

Deno.test("CUDA linear kernels refuse what does not fit", async () => {
  using devices = await openDevices();
  const { device, host } = devices;
  const stored = hostMatrix(host, new Float32Array(36), { rows: 4, columns: 9, dtype: "f32" });
  using weight = device.linearWeight([stored], "bf16");
  using odd = device.linearWeight([{ ...stored, rows: 3 }], "bf16");
  const x = new Matrix(device, 2, 9, { dtype: "bf16" }).tensor;
  const out = new Matrix(device, 2, 4).tensor;
  const halves = new Matrix(device, 2, 4, { dtype: "f16" }).tensor;
  const bias = vector(device, new Float32Array(3));
  const ids = vector(device, new Int32Array(2));
  for (
    const wrong of [
      () => device.linear(out, x, weight, 3),
      () => device.linear(out.columns(0, 3), x, weight, 2),
      () => device.linear(out, x.columns(0, 8), weight, 2),
      () => device.linear(out, x, weight, 2, { bias }),
      () => device.linear(halves, x, weight, 2),
      () => device.linear(ids, x, weight, 1),
      () => device.gatedLinear(out, x, odd, 1, { scratch: out }),
      () => device.gatedLinear(out, x, weight, 2, { scratch: halves }),
      () => device.gatedLinear(halves, x, weight, 2, { scratch: halves }),
      () => device.embedding(out, bias, weight, 2, 0),
      () => device.embedding(out, ids, weight, 2, 0),
      () => device.linearWeight([], "f32"),
      () => device.linearWeight([stored, { ...stored, columns: 7 }], "f32"),
    ]
  ) assertThrows(wrong, RangeError);
  assertThrows(() => device.linearWeight([{ ...stored, dtype: "i32" }], "f32"), TypeError);
  assertThrows(() => device.vector({ address: 1n, dtype: "i32", length: 1 }), TypeError);
  using foreign = host.linearWeight([stored], "f32");
  const wide = new Matrix(device, 2, 9).tensor;
  assertThrows(() => device.linear(out, wide, foreign, 2), TypeError, "another device");
  assertThrows(() => device.embedding(wide, ids, foreign, 1, 0), TypeError, "another device");
});
