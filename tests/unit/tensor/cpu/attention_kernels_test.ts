import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { compileSources } from "../../../../src/native/compile.ts";
import { CPU_SOURCES } from "../../../../src/native/sources.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import { Tensor } from "../../../../src/tensor/tensor.ts";
import { instructionSetFlags } from "../../native/_simd_harness.ts";
import {
  attend,
  type Chunk,
  chunksOf,
  type Heads,
  randomSequence,
  referenceAttention,
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

for (const [name, shape] of SHAPES) {
  Deno.test(`pagedAttention agrees with float64: ${name}`, () => {
    using device = openCpuDevice({ threads: 2 });
    const random = new Random(1);
    const sequences = MIXED_LENGTHS.map((length) => randomSequence(random, length, shape));
    const outputs = attend(device, sequences, MIXED_STEPS, shape, random);
    const { kvHeadOfHead: { length: numHeads }, headDim } = shape;
    sequences.forEach((sequence, s) => {
      for (let position = 0; position < sequence.length; position += position < 40 ? 3 : 31) {
        for (let head = 0; head < numHeads; head++) {
          const expected = referenceAttention(sequence, { position, head }, shape);
          const first = (position * numHeads + head) * headDim;
          for (let d = 0; d < headDim; d++) {
            const error = Math.abs(outputs[s][first + d] - expected[d]);
            assertLess(error, 3e-6, `sequence ${s}, position ${position}, head ${head}`);
          }
        }
      }
    });
  });
}

Deno.test("pagedAttention gives the same bits for any chunking, batch and number of threads", () => {
  for (const slidingWindow of [0, 70, 300]) {
    const shape = heads({ kvHeadOfHead: [0, 0, 0, 1, 1, 1], slidingWindow });
    const lengths = [601, 45, 130];
    const sequences = lengths.map((length, i) => randomSequence(new Random(i), length, shape));
    const whole = lengths.map((count, sequence) => ({ sequence, start: 0, count }));
    using one = openCpuDevice({ threads: 1 });
    const expected = attend(one, sequences, [whole], shape, new Random(7));
    assert(expected.every((output) => output.every(Number.isFinite)));

    using three = openCpuDevice({ threads: 3 });
    for (const device of [one, three]) {
      for (const size of [1, 7, 16, 33, 601]) {
        // Decoding all 601 positions one by one on each device would only take longer.
        const sequence = size === 1 ? 1 : 0;
        const steps = chunksOf(sequence, lengths[sequence], size);
        const outputs = attend(device, sequences, steps, shape, new Random(size));
        assertEquals(bits(outputs[sequence]), bits(expected[sequence]), `chunks of ${size}`);
      }
      // One token at depth 600, where partitions are worked on in parallel.
      const decode = [[{ sequence: 0, start: 0, count: 600 }], [{
        sequence: 0,
        start: 600,
        count: 1,
      }]];
      const outputs = attend(device, sequences, decode, shape, new Random(8));
      assertEquals(bits(outputs[0]), bits(expected[0]), "decode");
    }
    const together = attend(three, sequences, [whole], shape, new Random(9));
    together.forEach((output, i) => assertEquals(bits(output), bits(expected[i]), "batch"));
  }
});

Deno.test("pagedAttention gives the same bits on every instruction set", () => {
  using native = openCpuDevice({ threads: 1 });
  for (const [set, flags] of Object.entries(instructionSetFlags())) {
    using device = openCpuDevice({ threads: 1, libraryPath: compileSources(CPU_SOURCES, flags) });
    for (const headDim of [20, 64]) {
      const shape = heads({ headDim });
      const sequences = [randomSequence(new Random(1), 270, shape)];
      const steps = chunksOf(0, 270, 135);
      const [output] = attend(device, sequences, steps, shape, new Random(2));
      const [expected] = attend(native, sequences, steps, shape, new Random(3));
      assertEquals(bits(output), bits(expected), set);
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

Deno.test("pagedAttention shows a token nothing of the tokens after it", () => {
  using device = openCpuDevice({ threads: 1 });
  const shape = heads();
  const sequence = randomSequence(new Random(5), 40, shape);
  const steps = chunksOf(0, 40, 40);
  const [expected] = attend(device, [sequence], steps, shape, new Random(6));
  const poisoned = { ...sequence, keys: sequence.keys.slice(), values: sequence.values.slice() };
  poisoned.keys.fill(NaN, 21 * 32);
  poisoned.values.fill(Infinity, 21 * 32);
  const [output] = attend(device, [poisoned], steps, shape, new Random(6));
  assertEquals(bits(output.subarray(0, 21 * 64)), bits(expected.subarray(0, 21 * 64)));
  assert(Number.isNaN(output[21 * 64]));
});

Deno.test("pagedAttention and writeKvCache refuse blocks outside the cache", () => {
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
  const write = (slot: number) =>
    device.writeKvCache(cache, x, x, i32([slot]), 1, { numKvHeads: 1, headDim: 8 });
  write(31);
  assertThrows(() => write(32), RangeError, "slot of row 0 lies outside its 2 blocks");
  assertThrows(() => write(-1), RangeError, "slot of row 0");

  const attendTo = (block: number, contextStart: number, kvHead = 0) =>
    device.pagedAttention(
      x,
      x,
      cache,
      {
        positions: i32([contextStart]),
        slotMapping: i32([0]),
        queryStarts: i32([0, 1]),
        contextStarts: i32([contextStart]),
        tableRows: i32([0]),
        blockTables: i32([block], [1, 1]),
      },
      { tokens: 1, sequences: 1 },
      {
        numHeads: 1,
        numKvHeads: 1,
        kvHeadOfHead: i32([kvHead]),
        headDim: 8,
        scale: 1,
        slidingWindow: 0,
      },
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
});
