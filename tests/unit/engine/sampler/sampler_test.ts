import { assert, assertEquals, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import type { SampleRow } from "../../../../src/engine/sampler/sample_row.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { Random } from "../../tensor/_random.ts";
import {
  drawnRow,
  logSoftmax,
  MAX_ROWS,
  mixedRows,
  randomAdjustments,
  referenceToken,
  SamplerHarness,
  targetRow,
  tiedLogits,
} from "../_sampling.ts";

const VOCAB_SIZE = 203;

const rowOf = (logits: Float32Array, row: number) =>
  logits.subarray(row * VOCAB_SIZE, (row + 1) * VOCAB_SIZE);

Deno.test("a sampler draws what sorting and summing in float64 does", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const random = new Random(1);
  for (let step = 0; step < 60; step++) {
    const logits = tiedLogits(step, VOCAB_SIZE);
    harness.write(logits);
    const rows = mixedRows(random, 1 + step % MAX_ROWS);
    const { tokens } = harness.sample(rows);
    const expected = rows.map((row, i) => referenceToken(rowOf(logits, i), row));
    assertEquals([...tokens], expected, `step ${step}: ${JSON.stringify(rows)}`);
  }
});

Deno.test("adjusted rows are drawn from adjusted logits, beside others that are not", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const random = new Random(4);
  for (let step = 0; step < 60; step++) {
    const logits = tiedLogits(step, VOCAB_SIZE);
    harness.write(logits);
    const rows = mixedRows(random, 1 + step % MAX_ROWS).map((row, i) => ({
      ...row,
      adjustments: (step + i) % 3 === 0 ? null : randomAdjustments(random, VOCAB_SIZE),
    }));
    const { tokens } = harness.sample(step % 4 === 0 ? [rows[0]] : rows);
    const expected = rows.slice(0, tokens.length)
      .map((row, i) => referenceToken(rowOf(logits, i), row));
    assertEquals([...tokens], expected, `step ${step}`);
  }
});

Deno.test("log-probabilities are those of the logits before adjustments", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const random = new Random(5);
  const counts = [0, 3, 20, 5, -1, 40];
  for (const asked of [counts.slice(0, 4), counts]) {
    // The first time with masks, then without: what is kept of a step must not be another's.
    for (const masked of [true, false]) {
      const logits = tiedLogits(7, VOCAB_SIZE);
      harness.write(logits);
      const plain = asked.map((count, i) =>
        drawnRow({ temperature: i % 2, topP: 0.8 }, { logprobs: count, position: i })
      );
      const adjusted = plain.map((row) => {
        const adjustments = randomAdjustments(random, VOCAB_SIZE);
        return { ...row, adjustments: masked ? adjustments : { ...adjustments, mask: null } };
      });
      const { tokens, logprobs } = harness.sample(adjusted);
      // The same tokens as targets, which nothing adjusts.
      harness.write(logits);
      const targets = asked.map((count, i) => targetRow(tokens[i], count));
      assertEquals(logprobs, harness.sample(targets).logprobs);
      assertEquals([...tokens], adjusted.map((row, i) => referenceToken(rowOf(logits, i), row)));
    }
  }
});

Deno.test("where nothing is left to draw, token 0 is drawn", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  harness.write(tiedLogits(8, VOCAB_SIZE));
  const adjustments = { count: 0, entries: new Int32Array(0), mask: new Int32Array(7) };
  const draws = [{ temperature: 0 }, { temperature: 1 }, { temperature: 1, topP: 0.5, minP: 0.1 }];
  const rows = [...draws, { temperature: 2, topK: 3 }].map((draw) =>
    drawnRow(draw, { adjustments, logprobs: 2 })
  );
  const { tokens, logprobs } = harness.sample(rows);
  assertEquals([...tokens], [0, 0, 0, 0]);
  assertEquals(logprobs.map((entry) => entry?.logprob), Array(4).fill(-Infinity));
});

Deno.test("more adjustments than a step may have are refused", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, 8);
  const adjustments = { count: 8, entries: new Int32Array(32), mask: null };
  const row = drawnRow({}, { adjustments });
  harness.sampler.prepare([row, row]);
  assertThrows(
    () => harness.sampler.prepare([row, row, row]),
    RangeError,
    "Cannot adjust more than 16 logits in a step: these are 24",
  );
});

Deno.test("truncated draws follow the renormalised distribution", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, 50);
  const row = new Random(3).normals(50, 2);
  harness.write(Float32Array.from({ length: MAX_ROWS * 50 }, (_, i) => row[i % 50]));
  const counts = new Map<number, number>();
  const steps = 2000;
  for (let step = 0; step < steps; step++) {
    const rows = Array.from(
      { length: MAX_ROWS },
      (_, i) => drawnRow({ temperature: 0.9, topK: 6 }, { position: step * MAX_ROWS + i }),
    );
    for (const token of harness.sample(rows).tokens) {
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
  }
  const kept = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 6);
  const masses = kept.map((id) => Math.exp(row[id] / 0.9));
  const total = masses.reduce((sum, mass) => sum + mass);
  const chiSquare = kept.reduce((sum, id, i) => {
    const expected = steps * MAX_ROWS * masses[i] / total;
    return sum + ((counts.get(id) ?? 0) - expected) ** 2 / expected;
  }, 0);
  assertEquals([...counts.keys()].sort(), kept.toSorted());
  // 5 degrees of freedom: above 26 in one of 10,000 experiments.
  assertLess(chiSquare, 26);
});

Deno.test("log-probabilities are those of the softmax, with the most likely tokens beside them", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const logits = tiedLogits(5, VOCAB_SIZE);
  // Too few that can be drawn for all that is asked.
  rowOf(logits, 3).fill(-Infinity, 4);
  rowOf(logits, 3)[1] = NaN;
  harness.write(logits);
  rowOf(logits, 3)[1] = -Infinity;
  const counts = [0, 1, 5, 20, 20, 33, -1, 100, -1];
  for (const asked of [counts.slice(0, 5), counts]) {
    const rows = asked.map((count, i) =>
      i % 2 === 0 ? targetRow(7 * i, count) : drawnRow({ temperature: 1 }, { logprobs: count })
    );
    const { tokens, logprobs } = harness.sample(rows);
    asked.forEach((count, i) => {
      const expected = logSoftmax(rowOf(logits, i));
      const { logprob, topIds, topLogprobs } = logprobs[i]!;
      const token = rows[i].target >= 0 ? rows[i].target : tokens[i];
      assert(logprob === expected[token] || Math.abs(logprob - expected[token]) < 2e-6);
      const order = [...expected.keys()].sort((a, b) =>
        rowOf(logits, i)[b] > rowOf(logits, i)[a]
          ? 1
          : rowOf(logits, i)[b] < rowOf(logits, i)[a]
          ? -1
          : a - b
      );
      const possible = order.filter((id) => expected[id] > -Infinity);
      const ids = count < 0 ? order : possible.slice(0, count);
      assertEquals([...topIds], ids, `row ${i}`);
      ids.forEach((id, j) => {
        const same = topLogprobs[j] === expected[id];
        assert(same || Math.abs(topLogprobs[j] - expected[id]) < 2e-6);
      });
    });
  }
});

Deno.test("rows that ask for nothing get no log-probabilities", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  harness.write(tiedLogits(6, VOCAB_SIZE));
  assertEquals(harness.sample([drawnRow(), drawnRow()]).logprobs, [null, null]);
  const { logprobs } = harness.sample([drawnRow(), drawnRow({}, { logprobs: 0 })]);
  assertEquals([logprobs[0], logprobs[1]!.topIds.length], [null, 0]);
});

/** A device that refuses what can't be recorded while `recording.now`, and counts uploads. */
function strictDevice(inner: Device) {
  const state = { recording: false, uploads: 0 };
  const refuse = (what: string) => {
    if (state.recording) throw new Error(`Cannot ${what} as a recording is being made`);
  };
  const device: Device = {
    ...inner,
    allocate(bytes) {
      refuse("allocate");
      return inner.allocate(bytes);
    },
    upload(destination, source) {
      refuse("upload");
      state.uploads++;
      inner.upload(destination, source);
    },
    download(destination, source) {
      refuse("download");
      inner.download(destination, source);
    },
    readback(bytes) {
      refuse("make a landing place");
      return inner.readback(bytes);
    },
  };
  return { device, state };
}

Deno.test("run is device work alone after few uploads, and serves other rows of the same key", () => {
  using inner = openCpuDevice({ threads: 1 });
  const { device, state } = strictDevice(inner);
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const logits = tiedLogits(9, VOCAB_SIZE);
  harness.write(logits);
  const { sampler } = harness;
  const adjustments = {
    ...randomAdjustments(new Random(1), VOCAB_SIZE),
    mask: new Int32Array(7).fill(0x5a5a5a5a),
  };
  const steps: SampleRow[][] = [
    [drawnRow(), drawnRow({ temperature: 1 })],
    [drawnRow({ temperature: 1, topP: 0.5, topK: 9, minP: 0.1 }), drawnRow()],
    [drawnRow({ temperature: 1, topP: 0.5 }), drawnRow({}, { logprobs: 3 })],
    [drawnRow({ temperature: 1 }, { adjustments: { ...adjustments, mask: null } }), drawnRow()],
    [drawnRow({ temperature: 1, topP: 0.5 }, { adjustments }), drawnRow({}, { logprobs: 3 })],
  ];
  // Parameters; entries; masks.
  const uploads = [1, 1, 1, 2, 3];
  for (const [step, rows] of steps.entries()) {
    sampler.prepare(rows);
    state.uploads = 0;
    const work = sampler.prepare(rows);
    assertEquals(state.uploads, uploads[step]);
    using recording = inner.record(() => {
      state.recording = true;
      sampler.run(work);
      state.recording = false;
    });
    harness.write(logits);
    recording.replay();
    // Further samples take the place of those that were read.
    const first = structuredClone(sampler.readBack(work).read());
    const others = rows.map((row) => ({ ...row, position: 1000 })).toReversed();
    assertEquals(sampler.prepare(others), work);
    harness.write(logits);
    recording.replay();
    const second = sampler.readBack(work).read();
    assertEquals([...first.tokens], rows.map((row, i) => referenceToken(rowOf(logits, i), row)));
    assertEquals(
      [...second.tokens],
      others.map((row, i) => referenceToken(rowOf(logits, i), row)),
    );
    assertEquals(second.logprobs.map((entry) => entry?.topIds.length), [
      ...first.logprobs.map((entry) => entry?.topIds.length).toReversed(),
    ]);
  }
  const keys = steps.map((rows) => sampler.prepare(rows).key);
  assertEquals(new Set(keys).size, keys.length);
});

Deno.test("padding is drawn for nobody and changes nothing", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  harness.write(tiedLogits(10, VOCAB_SIZE));
  const { sampler } = harness;
  const rows = [
    drawnRow({ temperature: 1, topP: 0.9 }, { logprobs: 2 }),
    drawnRow({ temperature: 0.7, topK: 4 }),
  ];
  const expected = harness.sample(rows);
  const work = sampler.prepare(rows, 8);
  assertEquals(work.rows, 8);
  assertNotEquals(work.key, sampler.prepare(rows).key);
  sampler.prepare(rows, 8);
  sampler.run(work);
  assertEquals(sampler.readBack(work).read(), expected);
});

Deno.test("several results may be on their way", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const { sampler } = harness;
  const random = new Random(12);
  const steps = Array.from({ length: 5 }, (_, i) => ({
    logits: tiedLogits(100 + i, VOCAB_SIZE),
    rows: mixedRows(random, 3).map((row, j) => ({ ...row, logprobs: j === i % 3 ? 2 : null })),
  }));
  const pending = steps.map(({ logits, rows }) => {
    harness.write(logits);
    const work = sampler.prepare(rows);
    sampler.run(work);
    return sampler.readBack(work);
  });
  for (const [i, { logits, rows }] of steps.entries()) {
    assert(pending[i].isReady());
    const samples = pending[i].read();
    harness.write(logits);
    assertEquals(samples, harness.sample(rows));
    assertEquals(pending[i].read(), samples);
  }
});

Deno.test("more rows than there are logits are refused", () => {
  using device = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  const { sampler } = harness;
  const rows = Array.from({ length: MAX_ROWS + 1 }, () => drawnRow());
  assertThrows(() => sampler.prepare(rows), RangeError, "limit is 9");
  assertThrows(() => sampler.prepare(rows.slice(0, 3), 2), RangeError, "3 rows padded to 2");
  assertThrows(() => sampler.prepare([drawnRow()], MAX_ROWS + 1), RangeError, "limit is 9");
});

Deno.test("a sampler frees all that it has allocated", () => {
  using inner = openCpuDevice({ threads: 1 });
  const held = new Set<unknown>();
  const device: Device = {
    ...inner,
    allocate(bytes) {
      const address = inner.allocate(bytes);
      held.add(address);
      return address;
    },
    free(address) {
      assert(held.delete(address));
      inner.free(address);
    },
    readback(bytes) {
      const readback = inner.readback(bytes);
      held.add(readback);
      return { ...readback, [Symbol.dispose]: () => assert(held.delete(readback)) };
    },
  };
  {
    using harness = new SamplerHarness(device, VOCAB_SIZE);
    harness.write(tiedLogits(1, VOCAB_SIZE));
    const mask = new Int32Array(7).fill(-1);
    const adjustments = { ...randomAdjustments(new Random(1), VOCAB_SIZE), mask };
    harness.sample([drawnRow({ temperature: 1, topP: 0.5 }, { adjustments, logprobs: -1 })]);
    assertNotEquals(held.size, 0);
  }
  assertEquals(held.size, 0);
});
