import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import type { KvDType } from "../../../../src/tensor/dtype.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { openAmxTwinDevice } from "./_amx_twin.ts";
import { forEachInstructionSet } from "./_instruction_sets.ts";
import {
  attend,
  cachedSequence,
  type Chunk,
  chunksOf,
  type Heads,
  randomSequence,
  referenceAttention,
  type Sequence,
} from "../_attention.ts";
import { Random } from "../_random.ts";

function heads(options: Partial<Heads> = {}): Heads {
  return { kvHeadOfHead: [0, 0, 1, 1], numKvHeads: 2, headDim: 16, slidingWindow: 0, ...options };
}

function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

// Prefill chunks and decoding tokens of several sequences share each step.
const MIXED_STEPS: Chunk[][] = [
  [{ sequence: 0, start: 0, count: 290 }],
  [{ sequence: 1, start: 0, count: 33 }, { sequence: 0, start: 290, count: 1 }],
  [
    { sequence: 0, start: 291, count: 1 },
    { sequence: 2, start: 0, count: 1 },
    { sequence: 1, start: 33, count: 17 },
  ],
];
const MIXED_LENGTHS = [292, 50, 1];

const SHAPES: [string, Heads][] = [
  ["one head, 8 elements", heads({ kvHeadOfHead: [0], numKvHeads: 1, headDim: 8 })],
  [
    "three queries a key head, 64 elements",
    heads({ kvHeadOfHead: [0, 0, 0], numKvHeads: 1, headDim: 64 }),
  ],
  ["no grouping, 20 elements", heads({ kvHeadOfHead: [0, 1, 2], numKvHeads: 3, headDim: 20 })],
  [
    "uneven groups, 80 elements",
    heads({ kvHeadOfHead: [0, 1, 1, 1, 1, 1], numKvHeads: 2, headDim: 80 }),
  ],
  ["heads in any order", heads({ kvHeadOfHead: [1, 0, 1, 0], numKvHeads: 2, headDim: 32 })],
  ["128 elements", heads({ kvHeadOfHead: [0, 0], numKvHeads: 1, headDim: 128 })],
  ["256 elements", heads({ kvHeadOfHead: [0], numKvHeads: 1, headDim: 256 })],
  ["a window of 24", heads({ slidingWindow: 24 })],
  ["a window over partitions", heads({ slidingWindow: 100 })],
  ["a window of one", heads({ slidingWindow: 1 })],
];

/** Largest errors beside the rounding of keys and values; with bf16, queries and weights are rounded too. */
const TOLERANCES = { f32: 3e-6, bf16: 2e-2, int8: 1e-3 } as const;
const KV_DTYPES = ["f32", "bf16", "int8"] as const;

for (const kvDtype of KV_DTYPES) {
  for (const [name, shape] of SHAPES) {
    Deno.test(`pagedAttention agrees with float64: ${kvDtype}, ${name}`, () => {
      using device = openCpuDevice({ threads: 2 });
      const random = new Random(1);
      const sequences = MIXED_LENGTHS.map((length) => randomSequence(random, length, shape));
      const outputs = attend(device, sequences, MIXED_STEPS, shape, random, { kvDtype });
      sequences.forEach((sequence, s) => {
        const error = attentionError(outputs[s], cachedSequence(sequence, shape, kvDtype), shape);
        assertLess(error, TOLERANCES[kvDtype], `sequence ${s}`);
      });
    });
  }
}

/** Largest error of the outputs of some positions. */
function attentionError(output: Float32Array, sequence: Sequence, shape: Heads): number {
  const { kvHeadOfHead: { length: numHeads }, headDim } = shape;
  let largest = 0;
  for (let position = 0; position < sequence.length; position += position < 40 ? 3 : 31) {
    for (let head = 0; head < numHeads; head++) {
      const expected = referenceAttention(sequence, { position, head }, shape);
      const first = (position * numHeads + head) * headDim;
      for (let d = 0; d < headDim; d++) {
        const error = Math.abs(output[first + d] - expected[d]);
        // NaN is larger than any number here.
        if (!(error <= largest)) largest = error;
      }
    }
  }
  return largest;
}

const CHUNKING: [KvDType, number][] = [
  ["f32", 0],
  ["f32", 70],
  ["f32", 300],
  ["bf16", 0],
  ["bf16", 300],
  ["int8", 0],
  ["int8", 299],
];

Deno.test("pagedAttention gives the same bits for any chunking, batch and number of threads", () => {
  for (const [kvDtype, slidingWindow] of CHUNKING) {
    const shape = heads({ kvHeadOfHead: [0, 0, 0, 1, 1, 1], slidingWindow });
    const lengths = [601, 45, 130];
    const sequences = lengths.map((length, i) => randomSequence(new Random(i), length, shape));
    const whole = lengths.map((count, sequence) => ({ sequence, start: 0, count }));
    using one = openCpuDevice({ threads: 1 });
    const expected = attend(one, sequences, [whole], shape, new Random(7), { kvDtype });
    assert(expected.every((output) => output.every(Number.isFinite)));

    using three = openCpuDevice({ threads: 3 });
    for (const device of [one, three]) {
      for (const size of [1, 7, 16, 33, 601]) {
        // Decoding all 601 positions one by one on each device would only take longer.
        const sequence = size === 1 ? 1 : 0;
        const steps = chunksOf(sequence, lengths[sequence], size);
        const outputs = attend(device, sequences, steps, shape, new Random(size), { kvDtype });
        assertEquals(bits(outputs[sequence]), bits(expected[sequence]), `chunks of ${size}`);
      }
      // One token at depth 600, where partitions are worked on in parallel.
      const decode = [[{ sequence: 0, start: 0, count: 600 }], [{
        sequence: 0,
        start: 600,
        count: 1,
      }]];
      const outputs = attend(device, sequences, decode, shape, new Random(8), { kvDtype });
      assertEquals(bits(outputs[0]), bits(expected[0]), "decode");
    }
    const together = attend(three, sequences, [whole], shape, new Random(9), { kvDtype });
    together.forEach((output, i) => assertEquals(bits(output), bits(expected[i]), "batch"));
  }
});

/** Calls `run` on every instruction set, and with matrix tiles in plain C. */
function forEachSet(run: (device: Device, set: string) => void): void {
  forEachInstructionSet({ threads: 1 }, run);
  using device = openAmxTwinDevice({ threads: 1 });
  run(device, "amx twin");
}

Deno.test("pagedAttention agrees with float64 on every instruction set, in f32 and int8 with the same bits", () => {
  using native = openCpuDevice({ threads: 1 });
  const cases = [20, 64].map((headDim) => {
    const shape = heads({ headDim });
    return { shape, sequence: randomSequence(new Random(1), 270, shape) };
  });
  const run = (device: Device, index: number, kvDtype: KvDType, size: number) => {
    const { shape, sequence } = cases[index];
    const steps = chunksOf(0, sequence.length, size);
    return attend(device, [sequence], steps, shape, new Random(size), { kvDtype })[0];
  };
  const expected = cases.map((_, index) => ({
    f32: run(native, index, "f32", 135),
    int8: run(native, index, "int8", 135),
  }));
  forEachSet((device, set) => {
    cases.forEach(({ shape, sequence }, index) => {
      for (const kvDtype of ["f32", "int8"] as const) {
        assertEquals(bits(run(device, index, kvDtype, 135)), bits(expected[index][kvDtype]), set);
      }
      const output = run(device, index, "bf16", 135);
      const error = attentionError(output, cachedSequence(sequence, shape, "bf16"), shape);
      assertLess(error, TOLERANCES.bf16, set);
      assertEquals(bits(run(device, index, "bf16", 27)), bits(output), set);
    });
  });
});

Deno.test("pagedAttention with matrix tiles: any head size, chunk, batch and window", () => {
  using native = openCpuDevice({ threads: 1 });
  using tiles = openAmxTwinDevice({ threads: 2 });
  const shapes = [
    heads({ kvHeadOfHead: [0, 0, 0], numKvHeads: 1, headDim: 80 }),
    heads({ kvHeadOfHead: [0, 1, 1, 1, 1, 1], headDim: 16 }),
    heads({ headDim: 144, slidingWindow: 24 }),
    heads({ kvHeadOfHead: Array(18).fill(0), numKvHeads: 1, headDim: 8, slidingWindow: 100 }),
  ];
  for (const shape of shapes) {
    const sequences = MIXED_LENGTHS.map((length, i) =>
      randomSequence(new Random(i), length, shape)
    );
    for (const kvDtype of ["bf16", "int8"] as const) {
      const run = (device: Device, steps: Chunk[][]) =>
        attend(device, sequences, steps, shape, new Random(1), { kvDtype });
      const whole = [MIXED_LENGTHS.map((count, sequence) => ({ sequence, start: 0, count }))];
      const outputs = run(tiles, MIXED_STEPS);
      run(kvDtype === "int8" ? native : tiles, whole).forEach((output, s) => {
        assertEquals(bits(outputs[s]), bits(output), `${shape.headDim} elements`);
        const cached = cachedSequence(sequences[s], shape, kvDtype);
        assertLess(attentionError(output, cached, shape), TOLERANCES[kvDtype]);
      });
    }
  }
});

Deno.test("pagedAttention gives a rank that holds some heads the same bits", () => {
  using device = openCpuDevice({ threads: 2 });
  const all = heads({ kvHeadOfHead: [0, 0, 1, 1], headDim: 24 });
  const length = 300;
  const sequence = randomSequence(new Random(3), length, all);
  const steps = chunksOf(0, length, 128);
  const [expected] = attend(device, [sequence], steps, all, new Random(4));
  const columns = (source: Float32Array, width: number, first: number, count: number) =>
    Float32Array.from(
      { length: length * count },
      (_, i) => source[Math.floor(i / count) * width + first + i % count],
    );

  for (let head = 0; head < 4; head++) {
    const kvHead = all.kvHeadOfHead[head];
    const own = {
      length,
      queries: columns(sequence.queries, 96, head * 24, 24),
      keys: columns(sequence.keys, 48, kvHead * 24, 24),
      values: columns(sequence.values, 48, kvHead * 24, 24),
    };
    const shape = heads({ kvHeadOfHead: [0], numKvHeads: 1, headDim: 24 });
    const [output] = attend(device, [own], steps, shape, new Random(5));
    assertEquals(bits(output), bits(columns(expected, 96, head * 24, 24)));
  }
});

const DEVICES: [string, KvDType, (options: { readonly threads: number }) => Device][] = [
  ...KV_DTYPES.map((dtype): typeof DEVICES[number] => [dtype, dtype, openCpuDevice]),
  ["bf16 in matrix tiles", "bf16", openAmxTwinDevice],
];

for (const [name, kvDtype, open] of DEVICES) {
  Deno.test(`pagedAttention shows a token nothing of the tokens after it: ${name}`, () => {
    using device = open({ threads: 1 });
    const shape = heads();
    const sequence = randomSequence(new Random(5), 40, shape);
    const steps = chunksOf(0, 40, 40);
    const run = (sequence: Sequence) =>
      attend(device, [sequence], steps, shape, new Random(6), { kvDtype })[0];
    const expected = run(sequence);
    for (const last of [20, 21, 22, 23]) {
      for (const part of ["keys", "values"] as const) {
        const poisoned = { ...sequence, [part]: sequence[part].slice() };
        poisoned[part].fill(part === "keys" ? NaN : Infinity, (last + 1) * 32);
        const output = run(poisoned);
        const seen = (last + 1) * 64;
        assertEquals(bits(output.subarray(0, seen)), bits(expected.subarray(0, seen)));
        assert(!output.subarray(seen, seen + 64).some(Number.isFinite));
      }
    }
  });

  Deno.test(`pagedAttention shows a value or query that is no number: ${name}`, () => {
    using device = open({ threads: 1 });
    const shape = heads();
    const sequence = randomSequence(new Random(5), 20, shape);
    for (const part of ["queries", "values"] as const) {
      const wrong = { ...sequence, [part]: sequence[part].slice() };
      const { length } = wrong[part];
      wrong[part][length - 3] = NaN;
      const steps = chunksOf(0, 20, 20);
      const [output] = attend(device, [wrong], steps, shape, new Random(6), { kvDtype });
      assert(Number.isNaN(output[output.length - 3]));
      assert(output.subarray(0, 19 * 64).every(Number.isFinite));
    }
  });
}

Deno.test("pagedAttention and rotateAndCache refuse blocks outside the cache", () => {
  using device = openCpuDevice({ threads: 1 });
  using resources = new DisposableStack();
  const i32 = (values: number[], shape = [values.length]) => {
    const tensor = resources.use(Tensor.allocate(device, { shape, dtype: "i32" }));
    tensor.upload(Int32Array.from(values));
    return tensor;
  };
  const cache = device.kvCache(2, { numKvHeads: 1, headDim: 8, dtype: "f32" });
  resources.use(cache.keys);
  resources.use(cache.values);
  const x = resources.use(Tensor.allocate(device, { shape: [1, 8] }));
  const shapeOf = (kvHead = 0) => ({
    numHeads: 1,
    numKvHeads: 1,
    kvHeadOfHead: i32([kvHead]),
    headDim: 8,
    scale: 1,
    slidingWindow: 0,
  });
  const batchOf = (block: number, contextStart: number, slot = 0) => ({
    positions: i32([contextStart]),
    slotMapping: i32([slot]),
    queryStarts: i32([0, 1]),
    contextStarts: i32([contextStart]),
    tableRows: i32([0]),
    blockTables: i32([block], [1, 1]),
  });
  const write = (slot: number) => {
    const qkv = { queries: x, keys: x, values: x };
    const transform = { headNorms: null, rotary: null };
    device.rotateAndCache(cache, qkv, batchOf(0, 0, slot), 1, shapeOf(), transform);
  };
  write(31);
  assertThrows(() => write(32), RangeError, "slot of row 0 lies outside its 2 blocks");
  assertThrows(() => write(-1), RangeError, "slot of row 0");

  const attendTo = (block: number, contextStart: number, kvHead = 0) =>
    device.pagedAttention(
      x,
      x,
      cache,
      batchOf(block, contextStart),
      { tokens: 1, sequences: 1 },
      shapeOf(kvHead),
    );
  attendTo(1, 15);
  assertThrows(() => attendTo(2, 0), RangeError, "blocks of sequence 0 are out of range");
  assertThrows(() => attendTo(-1, 0), RangeError, "blocks of sequence 0 are out of range");
  assertThrows(() => attendTo(0, 16), RangeError, "blocks of sequence 0 are out of range");
  assertThrows(() => attendTo(0, 0, 1), RangeError, "kvHeadOfHead");
  assertThrows(
    () => device.kvCache(1, { numKvHeads: 1, headDim: 513, dtype: "f32" }),
    RangeError,
    "headDim must be from 1 to 512",
  );
  assertThrows(
    () => device.kvCache(1, { numKvHeads: 1, headDim: 8, dtype: "f16" }),
    RangeError,
    "f32, bf16 or int8: dtype is f16",
  );
});
