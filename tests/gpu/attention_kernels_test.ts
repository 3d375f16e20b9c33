import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import type { AttentionShape } from "../../src/tensor/attention_kernels.ts";
import type { Device } from "../../src/tensor/device.ts";
import type { WeightDType } from "../../src/tensor/dtype.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import {
  attend,
  type Chunk,
  type Heads,
  randomSequence,
  referenceAttention,
  type Sequence,
} from "../unit/tensor/_attention.ts";
import { Matrix, vector } from "../unit/tensor/_matrix.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";

/** Weights are rounded to the type before they meet the values, and outputs once more. */
const TOLERANCE: Readonly<Record<WeightDType, number>> = { f32: 1e-5, f16: 2e-3, bf16: 1.6e-2 };

// Chunks of more than one tile, single tokens among chunks, and single tokens alone.
const LENGTHS = [143, 51, 2];
const STEPS: Chunk[][] = [
  [{ sequence: 0, start: 0, count: 141 }],
  [{ sequence: 1, start: 0, count: 33 }, { sequence: 0, start: 141, count: 1 }],
  [
    { sequence: 2, start: 0, count: 1 },
    { sequence: 1, start: 33, count: 17 },
    { sequence: 0, start: 142, count: 1 },
  ],
  [{ sequence: 1, start: 50, count: 1 }, { sequence: 2, start: 1, count: 1 }],
];

function heads(options: Partial<Heads> = {}): Heads {
  return { kvHeadOfHead: [0, 1, 1], numKvHeads: 2, headDim: 64, slidingWindow: 0, ...options };
}

const SHAPES: { name: string; heads: Heads; dtypes: WeightDType[]; gap: number }[] = [
  { name: "uneven groups of 64", heads: heads(), dtypes: ["f32", "f16", "bf16"], gap: 8 },
  {
    name: "128 elements, heads in any order",
    heads: heads({ kvHeadOfHead: [1, 0, 1], headDim: 128 }),
    dtypes: ["f16", "bf16"],
    gap: 16,
  },
  {
    name: "ten queries a key head",
    heads: heads({ kvHeadOfHead: Array(10).fill(0), numKvHeads: 1 }),
    dtypes: ["bf16"],
    gap: 0,
  },
  {
    name: "nine queries a key head of 8",
    heads: heads({ kvHeadOfHead: Array(9).fill(0), numKvHeads: 1, headDim: 8 }),
    dtypes: ["f32", "bf16"],
    gap: 0,
  },
  { name: "64 elements at odd strides", heads: heads(), dtypes: ["bf16"], gap: 3 },
  { name: "20 elements", heads: heads({ headDim: 20 }), dtypes: ["f32", "f16"], gap: 1 },
  { name: "80 elements", heads: heads({ headDim: 80 }), dtypes: ["bf16"], gap: 0 },
  { name: "256 elements", heads: heads({ headDim: 256 }), dtypes: ["f32"], gap: 0 },
  { name: "a window of 24", heads: heads({ slidingWindow: 24 }), dtypes: ["f32", "bf16"], gap: 0 },
  { name: "a window of 70", heads: heads({ slidingWindow: 70 }), dtypes: ["bf16"], gap: 0 },
  { name: "a window of one", heads: heads({ slidingWindow: 1 }), dtypes: ["f16"], gap: 0 },
];

function assertAttends(
  outputs: readonly Float32Array[],
  sequences: readonly Sequence[],
  shape: Heads,
  options: { readonly dtype: WeightDType; readonly position: (length: number) => number[] },
): void {
  const { kvHeadOfHead: { length: numHeads }, headDim } = shape;
  const { dtype } = options;
  sequences.forEach((sequence, s) => {
    for (const position of options.position(sequence.length)) {
      for (let head = 0; head < numHeads; head++) {
        const expected = referenceAttention(sequence, { position, head }, shape);
        const first = (position * numHeads + head) * headDim;
        for (let d = 0; d < headDim; d++) {
          const error = Math.abs(outputs[s][first + d] - expected[d]);
          const what = `${dtype}, sequence ${s}, position ${position}, head ${head}, element ${d}`;
          assertLess(error, TOLERANCE[dtype] * (1 + Math.abs(expected[d])), what);
        }
      }
    }
  });
}

for (const { name, heads: shape, dtypes, gap } of SHAPES) {
  Deno.test(`CUDA pagedAttention agrees with float64: ${name}`, async () => {
    using device = await openTestDevice();
    for (const dtype of dtypes) {
      const random = new Random(1);
      const sequences = LENGTHS.map((length) => randomSequence(random, length, shape, dtype));
      const outputs = attend(device, sequences, STEPS, shape, random, { dtype, gap });
      const position = (length: number) => {
        const all = Array.from({ length }, (_, i) => i);
        return all.filter((i) => i % 13 === 0 || i > length - 4 || i === 127 || i === 128);
      };
      assertAttends(outputs, sequences, shape, { dtype, position });
    }
  });
}

Deno.test("CUDA pagedAttention merges the parts of a long sequence", async () => {
  using device = await openTestDevice();
  const length = 900;
  for (
    const [dtype, headDim, slidingWindow] of [
      ["f32", 16, 0],
      ["bf16", 64, 0],
      ["f16", 128, 0],
      ["bf16", 64, 500],
    ] as const
  ) {
    const shape = heads({ kvHeadOfHead: [0, 0], numKvHeads: 1, headDim, slidingWindow });
    const sequence = randomSequence(new Random(2), length, shape, dtype);
    const other = randomSequence(new Random(3), 3, shape, dtype);
    const steps = [
      [{ sequence: 0, start: 0, count: length - 2 }],
      // A short sequence has fewer parts than the long one beside it.
      [{ sequence: 0, start: length - 2, count: 1 }, { sequence: 1, start: 0, count: 1 }],
      [{ sequence: 1, start: 1, count: 2 }, { sequence: 0, start: length - 1, count: 1 }],
    ];
    const options = { dtype };
    const outputs = attend(device, [sequence, other], steps, shape, new Random(4), options);
    const position = (count: number) => count > 3 ? [count - 2, count - 1] : [0, 1, 2];
    assertAttends(outputs, [sequence, other], shape, { dtype, position });
  }
});

Deno.test("CUDA pagedAttention shows a token nothing of the tokens after it", async () => {
  using device = await openTestDevice();
  for (const dtype of ["f32", "bf16"] as const) {
    const shape = heads();
    const sequence = randomSequence(new Random(5), 40, shape, dtype);
    const steps = [[{ sequence: 0, start: 0, count: 40 }]];
    const [expected] = attend(device, [sequence], steps, shape, new Random(6), { dtype });
    const changed = { ...sequence, keys: sequence.keys.slice(), values: sequence.values.slice() };
    changed.keys.fill(1000, 21 * 128);
    changed.values.fill(-1000, 21 * 128);
    const [output] = attend(device, [changed], steps, shape, new Random(6), { dtype });
    const before = 21 * 192;
    assertEquals(output.subarray(0, before), expected.subarray(0, before));
    assertLess(Math.min(...output.subarray(before, before + 192)), -100);
  }
});

/** The device tensors of one decode step, whose lengths can change. */
class DecodeStep {
  readonly shape: AttentionShape;
  readonly out: Matrix;
  readonly run: () => void;
  readonly #contextStarts: Tensor;

  constructor(device: Device, options: { sequences: number; blocks: number; table?: number[] }) {
    const { sequences, blocks, table } = options;
    const i32 = (values: ArrayLike<number>) => vector(device, Int32Array.from(values));
    const headDim = 64;
    this.shape = {
      numHeads: 2,
      numKvHeads: 1,
      kvHeadOfHead: i32([0, 0]),
      headDim,
      scale: 0.125,
      slidingWindow: 0,
    };
    const dtype = "bf16";
    const cache = device.kvCache(blocks * sequences, { ...this.shape, dtype });
    const random = new Random(8);
    for (const tensor of [cache.keys, cache.values]) {
      const values = random.normals(tensor.size);
      tensor.upload(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16));
    }
    const queries = new Matrix(device, sequences, 2 * headDim, {
      values: random.normals(sequences * 2 * headDim),
      dtype,
      gap: 0,
    });
    const out = new Matrix(device, sequences, 2 * headDim, { dtype, gap: 0 });
    const entries = table ?? random.permutation(blocks * sequences);
    const blockTables = Tensor.allocate(device, { shape: [sequences, blocks], dtype: "i32" });
    blockTables.upload(Int32Array.from(entries));
    const contextStarts = i32(new Int32Array(sequences));
    const batch = {
      positions: contextStarts,
      slotMapping: contextStarts,
      queryStarts: i32(Array.from({ length: sequences + 1 }, (_, i) => i)),
      contextStarts,
      tableRows: i32(Array.from({ length: sequences }, (_, i) => i)),
      blockTables,
    };
    this.out = out;
    this.#contextStarts = contextStarts;
    const counts = { tokens: sequences, sequences };
    this.run = () =>
      device.pagedAttention(out.tensor, queries.tensor, cache, batch, counts, this.shape);
  }

  /** The number of keys each sequence sees. */
  setLengths(lengths: readonly number[]): void {
    this.#contextStarts.upload(Int32Array.from(lengths, (length) => length - 1));
  }
}

Deno.test("CUDA pagedAttention, recorded once, serves any lengths", async () => {
  using device = await openTestDevice();
  const step = new DecodeStep(device, { sequences: 2, blocks: 40 });
  const lengths = [[1, 17], [640, 128], [129, 333], [16, 600]];
  const expected = lengths.map((each) => {
    step.setLengths(each);
    step.run();
    return step.out.read();
  });
  using recording = device.record(step.run);
  lengths.forEach((each, i) => {
    step.setLengths(each);
    recording.replay();
    assertEquals(step.out.read(), expected[i]);
  });
});

Deno.test("CUDA pagedAttention stays in its memory whatever the tables say", async () => {
  using device = await openTestDevice();
  const table = [-1, 2 ** 31 - 1, 8, -(2 ** 31), 0, 1, 2, 3];
  const step = new DecodeStep(device, { sequences: 2, blocks: 4, table });
  for (const each of [[64, 64], [2 ** 30, 1], [0, -5]]) {
    step.setLengths(each);
    step.run();
    device.synchronize();
  }
});

interface RotateCase {
  readonly dtype: WeightDType;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly norm: boolean;
  readonly gap: number;
}

const ROTATE_CASES: RotateCase[] = [
  { dtype: "f32", headDim: 16, rotaryDim: 16, norm: false, gap: 0 },
  { dtype: "bf16", headDim: 128, rotaryDim: 128, norm: true, gap: 6 },
  { dtype: "f16", headDim: 64, rotaryDim: 64, norm: false, gap: 0 },
  { dtype: "bf16", headDim: 80, rotaryDim: 20, norm: true, gap: 2 },
  { dtype: "f16", headDim: 20, rotaryDim: 6, norm: false, gap: 0 },
  { dtype: "f32", headDim: 18, rotaryDim: 10, norm: true, gap: 1 },
  { dtype: "bf16", headDim: 8, rotaryDim: 0, norm: false, gap: 3 },
];

/** Norm and rotation of one head in float64. */
function rotated(
  head: Float32Array,
  options: {
    readonly angles: Float32Array;
    readonly weight: Float32Array | null;
    readonly epsilon: number;
  },
): number[] {
  const { angles, weight, epsilon } = options;
  const rms = Math.sqrt(head.reduce((sum, x) => sum + x * x, 0) / head.length + epsilon);
  const x = Array.from(head, (value, i) => weight ? value / rms * weight[i] : value);
  const half = angles.length / 2;
  return x.map((value, i) => {
    if (i >= 2 * half) return value;
    const [cosine, sine] = [angles[i % half], angles[half + i % half]];
    return i < half ? value * cosine - x[i + half] * sine : value * cosine + x[i - half] * sine;
  });
}

for (const options of ROTATE_CASES) {
  const { dtype, headDim, rotaryDim, norm, gap } = options;
  const name = `${headDim} ${dtype}, ${rotaryDim} rotated${norm ? ", with norms" : ""}`;
  Deno.test(`CUDA rotateAndCache agrees with float64: ${name}`, async () => {
    using device = await openTestDevice();
    const [rows, numHeads, numKvHeads, numBlocks, maxPositions] = [5, 3, 2, 3, 7];
    const random = new Random(headDim);
    const epsilon = 1e-5;
    const matrix = (columns: number) =>
      new Matrix(device, rows, columns, {
        values: random.normals(rows * columns),
        dtype,
        gap,
        offset: gap % 2,
      });
    const [queries, keys] = [matrix(numHeads * headDim), matrix(numKvHeads * headDim)];
    const values = matrix(numKvHeads * headDim);
    const before = [queries, keys, values].map((each) => each.read());
    const weights = [1, 2].map(() => random.normals(headDim).map((value) => 1 + value / 8));
    const table = new Matrix(device, maxPositions, rotaryDim, {
      values: random.normals(maxPositions * rotaryDim),
      gap: 3,
    });
    const angles = table.read();
    const cache = device.kvCache(numBlocks, { numKvHeads, headDim, dtype });
    const bytes = cache.keys.size * (dtype === "f32" ? 4 : 2);
    for (const tensor of [cache.keys, cache.values]) tensor.upload(new Uint8Array(bytes));
    // Positions outside the table take the nearest row; slots outside the cache are left out.
    const positions = [6, 0, 3, 900, -4];
    const slots = [17, 2, 47, -1, 48];
    const i32 = (list: number[]) => vector(device, Int32Array.from(list));
    const unused = i32([0, 0]);
    device.rotateAndCache(
      cache,
      { queries: queries.tensor, keys: keys.tensor, values: values.tensor },
      {
        positions: i32(positions),
        slotMapping: i32(slots),
        queryStarts: unused,
        contextStarts: unused,
        tableRows: unused,
        blockTables: unused,
      },
      rows,
      {
        numHeads,
        numKvHeads,
        kvHeadOfHead: i32([0, 0, 1]),
        headDim,
        scale: 1,
        slidingWindow: 0,
      },
      {
        headNorms: norm
          ? { query: vector(device, weights[0]), key: vector(device, weights[1]), epsilon }
          : null,
        rotary: rotaryDim > 0 ? { table: table.tensor, rotaryDim } : null,
      },
    );

    const anglesOf = (row: number) => {
      const position = Math.min(Math.max(positions[row], 0), maxPositions - 1);
      return angles.subarray(position * rotaryDim, (position + 1) * rotaryDim);
    };
    const headsOf = (source: Float32Array, count: number, weight: Float32Array | null) =>
      Array.from({ length: rows * count }, (_, i) => {
        const head = source.subarray(i * headDim, (i + 1) * headDim);
        return rotated(head, { angles: anglesOf(Math.floor(i / count)), weight, epsilon });
      });
    const relative = { f32: 2e-6, f16: 2 ** -10.9, bf16: 2 ** -7.9 }[dtype];
    const assertClose = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
      for (let i = 0; i < want.length; i++) {
        const allowed = relative * Math.abs(want[i]) + 2e-6;
        assert(Math.abs(got[i] - want[i]) <= allowed, `${what} ${i}: ${got[i]}, not ${want[i]}`);
      }
    };
    assertClose(
      queries.read(),
      headsOf(before[0], numHeads, norm ? weights[0] : null).flat(),
      "query",
    );
    const cached = (tensor: Tensor) => cachedValues(tensor, dtype);
    const rotatedKeys = headsOf(before[1], numKvHeads, norm ? weights[1] : null);
    const wantKeys = new Float64Array(cache.keys.size);
    const wantValues = new Float64Array(cache.values.size);
    slots.forEach((slot, row) => {
      if (slot < 0 || slot >= 16 * numBlocks) return;
      for (let head = 0; head < numKvHeads; head++) {
        const block = Math.floor(slot / 16);
        const at = ((block * numKvHeads + head) * 16 + slot % 16) * headDim;
        const from = (row * numKvHeads + head) * headDim;
        wantKeys.set(rotatedKeys[row * numKvHeads + head], at);
        wantValues.set(before[2].subarray(from, from + headDim), at);
      }
    });
    assertClose(cached(cache.keys), wantKeys, "key");
    assertEquals(Float64Array.from(cached(cache.values)), wantValues);
  });
}

function cachedValues(tensor: Tensor, dtype: WeightDType): Float32Array {
  if (dtype === "f32") return tensor.download(new Float32Array(tensor.size));
  const bits = tensor.download(new Uint16Array(tensor.size));
  if (dtype === "f16") return Float32Array.from(new Float16Array(bits.buffer));
  return new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
}

Deno.test("CUDA rotateAndCache lets rows share a slot that nobody reads", async () => {
  using device = await openTestDevice();
  const x = new Matrix(device, 4, 64, {
    values: new Random(1).normals(256),
    dtype: "bf16",
    gap: 0,
  });
  const cache = device.kvCache(2, { numKvHeads: 1, headDim: 64, dtype: "bf16" });
  const i32 = (list: number[]) => vector(device, Int32Array.from(list));
  const same = i32([16, 16, 16, 16]);
  device.rotateAndCache(
    cache,
    { queries: x.tensor, keys: x.tensor, values: x.tensor },
    {
      positions: same,
      slotMapping: same,
      queryStarts: same,
      contextStarts: same,
      tableRows: same,
      blockTables: same,
    },
    4,
    {
      numHeads: 1,
      numKvHeads: 1,
      kvHeadOfHead: i32([0]),
      headDim: 64,
      scale: 1,
      slidingWindow: 0,
    },
    { headNorms: null, rotary: null },
  );
  device.synchronize();
});

Deno.test("CUDA attention refuses what its kernels have no room for", async () => {
  using device = await openTestDevice();
  assertThrows(
    () => device.kvCache(1, { numKvHeads: 1, headDim: 257, dtype: "f32" }),
    RangeError,
    "headDim must be from 1 to 256",
  );
  const step = new DecodeStep(device, { sequences: 1, blocks: 1 });
  assertThrows(
    () => device.kvCache(2 ** 28, { numKvHeads: 1, headDim: 8, dtype: "f32" }),
    RangeError,
    "the number of slots",
  );
  step.setLengths([1]);
  step.run();
});
