import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  decodePlan,
  decodeResult,
  encodePlan,
  encodeResult,
  maxPlanBytes,
} from "../../../src/engine/step_codec.ts";
import type { PlannedAdjustments, StepPlan, StepResult } from "../../../src/engine/step_plan.ts";

const plain = { noNullPrototype: true } as const;
const int31 = fc.nat(2 ** 31 - 1);
const uint32 = fc.nat(2 ** 32 - 1);
const step = fc.nat(Number.MAX_SAFE_INTEGER);
const ids = fc.array(int31, { maxLength: 20 }).map((values) => Int32Array.from(values));

const sampling = fc.record({
  temperature: fc.double({ noNaN: true }),
  topK: int31,
  topP: fc.double({ min: 0, max: 1, noNaN: true }),
  minP: fc.double({ min: 0, max: 1, noNaN: true }),
  seedLow: uint32,
  seedHigh: uint32,
  choice: int31,
  logprobs: fc.option(fc.integer({ min: -1, max: 200_000 })),
}, plain);

const words = (length: number) =>
  fc.array(int31, { minLength: length, maxLength: length }).map((values) =>
    Int32Array.from(values)
  );

const adjustments: fc.Arbitrary<PlannedAdjustments> = fc.nat(5).chain((changes) =>
  fc.record({
    count: int31,
    places: words(changes),
    entries: words(4 * changes),
    masked: fc.boolean(),
    mask: fc.option(words(3)),
  }, plain).map((planned) => planned.masked ? planned : { ...planned, mask: null })
);

const plan: fc.Arbitrary<StepPlan> = fc.record({
  step,
  sequences: fc.array(
    fc.record({
      slot: int31,
      startPosition: int31,
      numTokens: int31,
      tokens: fc.option(ids),
      inputStep: fc.oneof(fc.constant(-1), step),
      firstNewBlock: int31,
      newBlocks: ids,
      sampling: fc.option(sampling),
      promptTargets: fc.option(ids),
      adjustments: fc.option(adjustments),
      promptLogprobs: fc.integer({ min: -1, max: 200_000 }),
    }, plain).map((planned) => planned.sampling ? planned : { ...planned, adjustments: null }),
    { maxLength: 6 },
  ),
}, plain);

const row = fc.tuple(fc.float(), fc.array(fc.tuple(int31, fc.float()), { maxLength: 10 })).map(
  ([logprob, top]) => ({
    logprob,
    topIds: Int32Array.from(top, ([id]) => id),
    topLogprobs: Float32Array.from(top, ([, value]) => value),
  }),
);

const result: fc.Arbitrary<StepResult> = fc.record({
  step,
  sequences: fc.array(
    fc.record({
      slot: int31,
      token: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
      logprobs: fc.option(row),
      promptLogprobs: fc.option(fc.array(row, { maxLength: 5 })),
    }, plain),
    { maxLength: 6 },
  ),
}, plain);

Deno.test("decodePlan() gives back what encodePlan() packed, at any alignment", () => {
  fc.assert(
    fc.property(plan, fc.nat(9), (plan, shift) => {
      const memory = new Uint8Array(65_536).subarray(shift);
      const length = encodePlan(plan, memory);
      assertEquals(decodePlan(memory.subarray(0, length)), plan);
    }),
    { numRuns: 500, seed: 3 },
  );
});

Deno.test("decodePlan() reads shared memory and keeps no reference to it", () => {
  const memory = new Uint8Array(new SharedArrayBuffer(1024));
  const [sample] = fc.sample(plan, { numRuns: 1, seed: 5 });
  const decoded = decodePlan(memory.subarray(0, encodePlan(sample, memory)));
  memory.fill(255);
  assertEquals(decoded, sample);
});

Deno.test("encodePlan() takes plain arrays as well as typed ones", () => {
  const sequence = {
    slot: 1,
    startPosition: 2,
    numTokens: 3,
    tokens: [7, 8, 9],
    inputStep: -1,
    firstNewBlock: 0,
    newBlocks: [4],
    sampling: null,
    adjustments: null,
    promptTargets: [8, 9],
    promptLogprobs: 2,
  };
  const memory = new Uint8Array(256);
  const length = encodePlan({ step: 0, sequences: [sequence] }, memory);
  const decoded = decodePlan(memory.subarray(0, length)).sequences[0];
  assertEquals(Array.from(decoded.tokens ?? []), [7, 8, 9]);
  assertEquals(Array.from(decoded.newBlocks), [4]);
  assertEquals(Array.from(decoded.promptTargets ?? []), [8, 9]);
});

Deno.test("encodePlan() refuses a buffer that is too small and numbers that are not 32-bit", () => {
  const [sample] = fc.sample(plan, { numRuns: 1, seed: 5 });
  const length = encodePlan(sample, new Uint8Array(4096));
  assertThrows(() => encodePlan(sample, new Uint8Array(length - 1)), RangeError, "full");
  const sequences = [{ ...sample.sequences[0], startPosition: 2 ** 31 }];
  assertThrows(
    () => encodePlan({ step: 0, sequences }, new Uint8Array(4096)),
    RangeError,
    "32-bit",
  );
});

Deno.test("maxPlanBytes() bounds the largest plan, and not by much", () => {
  const limits = {
    maxNumSeqs: 8,
    maxNumBatchedTokens: 64,
    maxHitBlocks: 8,
    maxAdjustments: 16,
    vocabSize: 33,
  };
  const [largest] = fc.sample(sampling, { numRuns: 1, seed: 1 });
  const tokens = new Int32Array(8);
  // A block for each token, and one that was cached.
  const newBlocks = new Int32Array(9);
  const sequences = Array.from({ length: 8 }, (_, slot) => ({
    slot,
    startPosition: 0,
    numTokens: 8,
    tokens,
    inputStep: -1,
    firstNewBlock: 0,
    newBlocks,
    sampling: largest,
    adjustments: {
      count: 2,
      places: new Int32Array(2),
      entries: new Int32Array(8),
      masked: true,
      mask: new Int32Array(2),
    },
    promptTargets: tokens,
    promptLogprobs: -1,
  }));
  const length = encodePlan({ step: 2 ** 40, sequences }, new Uint8Array(maxPlanBytes(limits)));
  assertEquals(length, maxPlanBytes(limits));
  const tiny = {
    ...limits,
    maxNumSeqs: 64,
    maxNumBatchedTokens: 1,
    maxHitBlocks: 1,
    maxAdjustments: 2,
  };
  assertLessOrEqual(
    encodePlan({ step: 0, sequences: [{ ...sequences[0], tokens: null }] }, new Uint8Array(4096)),
    maxPlanBytes({ ...tiny, maxNumBatchedTokens: 8 }),
  );
  assert(maxPlanBytes(tiny) < 200);
});

Deno.test("decodeResult() gives back what encodeResult() packed", () => {
  fc.assert(
    fc.property(result, (result) => {
      assertEquals(decodeResult(encodeResult(result)), result);
    }),
    { numRuns: 500, seed: 4 },
  );
});

Deno.test("encodeResult() carries the log-probabilities of a whole vocabulary bit for bit", () => {
  const size = 50_257;
  const topIds = Int32Array.from({ length: size }, (_, i) => size - 1 - i);
  const topLogprobs = Float32Array.from({ length: size }, (_, i) => -Math.log1p(i) / 3);
  topLogprobs[size - 1] = -Infinity;
  const logprobs = { logprob: topLogprobs[1], topIds, topLogprobs };
  const sequence = { slot: 0, token: 3, logprobs, promptLogprobs: [logprobs] };
  const decoded = decodeResult(encodeResult({ step: 9, sequences: [sequence] }));
  for (const row of [decoded.sequences[0].logprobs, decoded.sequences[0].promptLogprobs?.[0]]) {
    assert(row?.topIds.every((id, i) => id === topIds[i]));
    assert(row?.topLogprobs.every((value, i) => Object.is(value, topLogprobs[i])));
    assertEquals(row?.logprob, topLogprobs[1]);
  }
});

Deno.test("encodeResult() refuses ids and log-probabilities of different number", () => {
  const logprobs = { logprob: 0, topIds: new Int32Array(2), topLogprobs: new Float32Array(1) };
  const sequences = [{ slot: 0, token: 1, logprobs, promptLogprobs: null }];
  assertThrows(() => encodeResult({ step: 0, sequences }), RangeError, "2 and 1");
});

Deno.test("decoders answer damaged bytes with a RangeError or another message, never a huge one", () => {
  const damage = fc.array(fc.tuple(fc.nat(2 ** 16), fc.nat(255)), { minLength: 1, maxLength: 6 });
  const decodes = (decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array) => {
    try {
      decode(bytes);
    } catch (error) {
      assert(error instanceof RangeError, String(error));
      assert(/^Cannot unpack/.test(error.message), error.message);
    }
  };
  fc.assert(
    fc.property(plan, result, damage, fc.nat(40), (plan, result, damage, cut) => {
      const memory = new Uint8Array(16_384);
      const planBytes = memory.subarray(0, encodePlan(plan, memory));
      for (
        const [decode, bytes] of [
          [decodePlan, planBytes],
          [decodeResult, encodeResult(result)],
        ] as const
      ) {
        for (const [place, value] of damage) bytes[place % bytes.length] = value;
        decodes(decode, bytes);
        assertThrows(() => decode(bytes.subarray(0, Math.min(cut, 11))), RangeError);
      }
    }),
    { numRuns: 500, seed: 6 },
  );
});
