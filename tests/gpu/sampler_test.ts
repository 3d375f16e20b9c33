import { assert, assertEquals, assertLess } from "@std/assert";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import {
  drawnRow,
  MAX_ROWS,
  mixedRows,
  randomAdjustments,
  SamplerHarness,
  targetRow,
  tiedLogits,
} from "../unit/engine/_sampling.ts";
import { Random } from "../unit/tensor/_random.ts";
import { openTestDevice } from "./_device.ts";

const VOCAB_SIZE = 4803;

Deno.test("CUDA: a sampler draws what it draws on the CPU", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  using reference = new SamplerHarness(cpu, VOCAB_SIZE);
  const random = new Random(21);
  for (const count of [1, 4, MAX_ROWS]) {
    const logits = tiedLogits(count, VOCAB_SIZE);
    for (const sampler of [harness, reference]) sampler.write(logits);
    const rows = mixedRows(random, count);
    assertEquals(harness.sample(rows), reference.sample(rows));
  }
});

Deno.test("CUDA: a sampler draws from adjusted logits what it draws on the CPU", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  using reference = new SamplerHarness(cpu, VOCAB_SIZE);
  const random = new Random(22);
  for (const logprobs of [null, 3, -1]) {
    const logits = tiedLogits(5, VOCAB_SIZE);
    for (const sampler of [harness, reference]) sampler.write(logits);
    const rows = mixedRows(random, MAX_ROWS).map((row, i) => ({
      ...row,
      adjustments: i % 3 === 0 ? null : randomAdjustments(random, VOCAB_SIZE / 4),
      logprobs: i % 2 === 0 ? logprobs : null,
    }));
    const [actual, expected] = [harness, reference].map((sampler) => sampler.sample(rows));
    assertEquals(actual.tokens, expected.tokens);
    expected.logprobs.forEach((entry, row) => {
      const other = actual.logprobs[row];
      assertEquals(other?.topIds, entry?.topIds);
      if (entry && other) assertLess(Math.abs(other.logprob - entry.logprob), 1e-5);
    });
  }
});

Deno.test("CUDA: log-probabilities are those of the CPU", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  using reference = new SamplerHarness(cpu, VOCAB_SIZE);
  const logits = tiedLogits(3, VOCAB_SIZE);
  for (const sampler of [harness, reference]) sampler.write(logits);
  for (const whole of [20, -1]) {
    const rows = [
      drawnRow(),
      drawnRow({ temperature: 1, topP: 0.9 }, { logprobs: 5 }),
      targetRow(4802, 0),
      targetRow(7, whole),
    ];
    const [actual, expected] = [harness, reference].map((sampler) => sampler.sample(rows));
    assertEquals(actual.tokens, expected.tokens);
    expected.logprobs.forEach((entry, row) => {
      const other = actual.logprobs[row];
      assertEquals(other?.topIds, entry?.topIds);
      if (!entry || !other) return;
      assertLess(Math.abs(other.logprob - entry.logprob), 1e-5);
      entry.topLogprobs.forEach((logprob, i) => {
        assertLess(Math.abs(other.topLogprobs[i] - logprob), 1e-5);
      });
    });
  }
});

Deno.test("CUDA: recorded sampling serves other rows, with results still on their way", async () => {
  using device = await openTestDevice();
  using cpu = openCpuDevice({ threads: 1 });
  using harness = new SamplerHarness(device, VOCAB_SIZE);
  using reference = new SamplerHarness(cpu, VOCAB_SIZE);
  const { sampler } = harness;
  const logits = tiedLogits(8, VOCAB_SIZE);
  for (const each of [harness, reference]) each.write(logits);
  for (const logprobs of [null, 3]) {
    for (const sampling of [{}, { topP: 0.8, topK: 30, minP: 0.01 }]) {
      const rowsAt = (position: number) =>
        [0, 0.8].map((temperature) =>
          drawnRow({ temperature, ...sampling }, { position, logprobs })
        );
      const work = sampler.prepare(rowsAt(0), 4);
      using recording = device.record(() => sampler.run(work));
      const pending = [1, 2, 3].map((position) => {
        assertEquals(sampler.prepare(rowsAt(position), 4), work);
        recording.replay();
        return sampler.readBack(work);
      });
      for (const [i, samples] of pending.entries()) {
        const expected = reference.sample(rowsAt(i + 1));
        const actual = samples.read();
        assert(samples.isReady());
        assertEquals(actual.tokens, expected.tokens);
        assertEquals(
          actual.logprobs.map((entry) => entry?.topIds),
          expected.logprobs.map((entry) => entry?.topIds),
        );
      }
    }
  }
});
