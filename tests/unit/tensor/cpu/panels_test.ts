import { assert, assertEquals } from "@std/assert";
import { REDUCTION_BLOCKS } from "../../../../src/layers/partition.ts";
import { FileMapper } from "../../../../src/native/memory_map.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import type {
  HostMatrix,
  LinearWeight,
  WeightOptions,
} from "../../../../src/tensor/linear_kernels.ts";
import { assertClose, assertSameBits, hostMatrix, Matrix, rounded, vector } from "../_matrix.ts";
import { Random } from "../_random.ts";
import { openAmxTwinDevice } from "./_amx_twin.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";

/** Rows, columns and block sizes: odd ones, and a block of more than one matrix tile. */
const SHAPES = [[37, 83, 0], [70, 167, 21], [64, 96, 12], [16, 301, 75], [5, 1, 0]];

/** Calls `run` on every instruction set, on matrix tiles too. */
function forEachSet(
  options: { readonly threads: number },
  run: (device: Device, set: string) => void,
): void {
  forEachInstructionSet(options, run);
  using device = openAmxTwinDevice(options);
  run(device, "amx twin");
}

function weightOf(
  device: Device,
  values: Float32Array,
  shape: { rows: number; columns: number; blockSize?: number },
): LinearWeight {
  const stored = hostMatrix(device, values, { ...shape, dtype: "bf16" });
  return device.linearWeight([stored], "bf16", { blockSize: shape.blockSize });
}

/** `x` `[tokens, columns]` times the weight, on poisoned output. */
function multiply(
  device: Device,
  weight: LinearWeight,
  x: Float32Array,
  tokens: number,
): Float32Array<ArrayBuffer> {
  const input = new Matrix(device, tokens, weight.inFeatures, { values: x, gap: 1 });
  const out = new Matrix(device, tokens, weight.outFeatures);
  device.linear(out.tensor, input.tensor, weight, tokens);
  return out.read();
}

/** In float64, of what the kernels round `x` and the weight to. */
function product(
  x: Float32Array<ArrayBuffer>,
  w: Float32Array<ArrayBuffer>,
  columns: number,
): Float64Array {
  const [xs, ws] = [rounded(x, "bf16"), rounded(w, "bf16")];
  const tokens = x.length / columns;
  const rows = w.length / columns;
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [t, r] = [Math.floor(i / rows) * columns, i % rows * columns];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += xs[t + k] * ws[r + k];
    return sum;
  });
}

Deno.test("panels agree with float64, a token in the same bits in any batch, on every set", () => {
  const most = 40;
  forEachSet({ threads: 2 }, (device, set) => {
    for (const [rows, columns, blockSize] of SHAPES) {
      const random = new Random(rows * columns);
      const x = random.normals(most * columns);
      const w = random.normals(rows * columns);
      using weight = weightOf(device, w, { rows, columns, blockSize });
      const all = multiply(device, weight, x, most);
      const label = `${set} [${rows}, ${columns}] in blocks of ${blockSize}`;
      assertClose(all, product(x, w, columns), 1e-5 * Math.sqrt(columns), label);
      for (let tokens = 1; tokens < most; tokens++) {
        const some = multiply(device, weight, x.subarray(0, tokens * columns), tokens);
        assertSameBits(some, all.subarray(0, tokens * rows), `${label}, ${tokens} tokens`);
      }
    }
  });
});

Deno.test("panels give the same bits on any number of threads, more tokens than fit at once", () => {
  const [rows, columns, tokens] = [83, 45, 1100];
  const random = new Random(3);
  const x = random.normals(tokens * columns);
  const w = random.normals(rows * columns);
  const results = [1, 2, 3].map((threads) => {
    using device = openCpuDevice({ threads });
    using weight = weightOf(device, w, { rows, columns, blockSize: 6 });
    return multiply(device, weight, x, tokens);
  });
  assertClose(results[0], product(x, w, columns), 1e-4);
  for (const result of results.slice(1)) assertSameBits(result, results[0]);
});

Deno.test("ranks' panels, added by the tree, are the whole product's bits on every set", () => {
  forEachSet({ threads: 1 }, (device, set) => {
    // Blocks that the last rank has but a part of, and blocks of several matrix tiles.
    for (const columns of [100, 8 * 45 - 5]) {
      const [rows, tokens] = [21, 3];
      const random = new Random(columns);
      const x = random.normals(tokens * columns);
      const w = random.normals(rows * columns);
      const blockSize = Math.ceil(columns / REDUCTION_BLOCKS);
      using weight = weightOf(device, w, { rows, columns, blockSize });
      const whole = multiply(device, weight, x, tokens);
      for (const ranks of [2, 4, 8]) {
        const share = blockSize * REDUCTION_BLOCKS / ranks;
        let partials = Array.from({ length: ranks }, (_, rank) => {
          const own = (values: Float32Array) =>
            values.filter((_, i) => Math.floor(i % columns / share) === rank);
          const count = own(x).length / tokens;
          using slice = weightOf(device, own(w), { rows, columns: count, blockSize });
          return multiply(device, slice, own(x), tokens);
        });
        while (partials.length > 1) {
          partials = partials.filter((_, i) => i % 2 === 0)
            .map((left, i) => left.map((value, j) => value + partials[2 * i + 1][j]));
        }
        assertSameBits(partials[0], whole, `${set}: ${columns} columns on ${ranks} ranks`);
      }
    }
  });
});

Deno.test("bias, GELU and SiLU come out of the product as they do after it, on every set", () => {
  forEachSet({ threads: 2 }, (device, set) => {
    // Halves of whole panels, which are gated on the way, and others.
    for (const [size, tokens] of [[48, 1], [32, 19], [13, 7], [16, 33]]) {
      const columns = 75;
      const random = new Random(size);
      const bias = vector(device, random.normals(2 * size));
      using weight = weightOf(device, random.normals(2 * size * columns), {
        rows: 2 * size,
        columns,
      });
      const x = random.normals(tokens * columns);
      const input = new Matrix(device, tokens, columns, { values: x }).tensor;
      const plain = new Matrix(device, tokens, 2 * size);
      device.linear(plain.tensor, input, weight, tokens, { bias });
      const label = `${set}: ${tokens} tokens, ${size} outputs`;

      const fused = new Matrix(device, tokens, 2 * size);
      device.linear(fused.tensor, input, weight, tokens, { bias, activation: "gelu" });
      const after = new Matrix(device, tokens, 2 * size);
      device.gelu(after.tensor, plain.tensor, tokens, 2 * size);
      assertSameBits(fused.read(), after.read(), `${label}, GELU`);

      const gated = new Matrix(device, tokens, size);
      const scratch = new Matrix(device, tokens, 2 * size).tensor;
      device.gatedLinear(gated.tensor, input, weight, tokens, { bias, scratch });
      const product = new Matrix(device, tokens, size);
      device.siluAndMul(product.tensor, plain.tensor, tokens, size);
      assertSameBits(gated.read(), product.read(), `${label}, SiLU`);
    }
  });
});

Deno.test("panels are packed from any type, order, stride and stack of parts", () => {
  using device = openCpuDevice({ threads: 2 });
  const [columns, tokens] = [75, 4];
  const sizes = [5, 1, 33];
  const random = new Random(9);
  const x = random.normals(tokens * columns);
  const w = rounded(random.normals(39 * columns), "bf16");
  using whole = weightOf(device, w, { rows: 39, columns, blockSize: 10 });
  const expected = multiply(device, whole, x, tokens);

  let row = 0;
  const parts = (["f32", "f16", "bf16"] as const).map((dtype, i): HostMatrix => {
    const values = w.subarray(row * columns, (row += sizes[i]) * columns);
    return hostMatrix(device, values, { rows: sizes[i], columns, dtype });
  });
  using stacked = device.linearWeight(parts, "bf16", { blockSize: 10 });
  assertClose(multiply(device, stacked, x, tokens), expected, 1e-2);

  const turned = Float32Array.from(w, (_, i) => w[i % 39 * columns + Math.floor(i / 39)]);
  for (const dtype of ["f32", "bf16"] as const) {
    const stored = hostMatrix(device, turned, { rows: columns, columns: 39, dtype });
    const part = { ...stored, rows: 39, columns, transposed: true };
    using transposed = device.linearWeight([part], "bf16", { blockSize: 10 });
    assertSameBits(multiply(device, transposed, x, tokens), expected, `transposed ${dtype}`);
  }
});

Deno.test("rows of a table of both uses are looked up in its panels", () => {
  using device = openCpuDevice({ threads: 2 });
  const rows = 39;
  const wanted = [38, 0, -1, 17, 16, rows, 47];
  for (const [columns, blockSize] of [[64, 0], [75, 0], [75, 10], [75, 37], [3, 0]]) {
    const w = rounded(new Random(4).normals(rows * columns), "bf16");
    w[17 * columns] = -0;
    const stored = hostMatrix(device, w, { rows, columns, dtype: "bf16" });
    const ids = vector(device, Int32Array.from(wanted, (id) => id + 100));
    const expected = wanted.flatMap((id) =>
      Array.from({ length: columns }, (_, k) => id < 0 || id >= rows ? 0 : w[id * columns + k] + 0)
    );
    for (const use of ["table", "both"] as const) {
      using table = device.linearWeight([stored], "bf16", { use, blockSize });
      const out = new Matrix(device, wanted.length, columns);
      device.embedding(out.tensor, ids, table, wanted.length, 100);
      assertSameBits(out.read(), Float32Array.from(expected), `${use} ${columns} ${blockSize}`);
    }
    using both = device.linearWeight([stored], "bf16", { use: "both", blockSize });
    using packed = device.linearWeight([stored], "bf16", { blockSize });
    const x = new Random(5).normals(2 * columns);
    assertSameBits(multiply(device, both, x, 2), multiply(device, packed, x, 2));
  }
});

/** Bytes of the mapping at `address` that are in memory; null when nothing is mapped there. */
function residentBytes(address: bigint): number | null {
  for (const entry of Deno.readTextFileSync("/proc/self/smaps").split(/\n(?=[0-9a-f]+-)/)) {
    const [, begin, end] = entry.match(/^([0-9a-f]+)-([0-9a-f]+)/)!;
    if (address < BigInt(`0x${begin}`) || address >= BigInt(`0x${end}`)) continue;
    return Number(entry.match(/\nRss:\s+(\d+) kB/)![1]) * 1024;
  }
  return null;
}

Deno.test("pages of a mapped part are given back", () => {
  using device = openCpuDevice({ threads: 2 });
  using mapper = new FileMapper();
  const [rows, columns] = [2048, 1024];
  const path = Deno.makeTempFileSync();
  try {
    const bits = Uint16Array.from({ length: rows * columns }, (_, i) => 0x3f80 + i % 97);
    Deno.writeFileSync(path, new Uint8Array(bits.buffer));
    using file = mapper.map(path);
    const { address } = file;
    const part = {
      address,
      dtype: "bf16",
      rows,
      columns,
      rowStride: columns,
      mapped: true,
    } as const;
    const kept = (options: WeightOptions) => {
      using weight = device.linearWeight([part], "bf16", options);
      assertEquals(weight.outFeatures, rows);
      return residentBytes(address)!;
    };
    for (const quantization of [undefined, "int8"] as const) {
      assert(kept({ quantization, use: "both" }) < bits.byteLength / 16);
    }
    // What was given back is still there to be read.
    assertEquals(new Uint16Array(file.bytes(0, bits.byteLength).slice().buffer), bits);
  } finally {
    Deno.removeSync(path);
  }
});
