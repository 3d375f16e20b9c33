import { assert, assertEquals, assertGreater } from "@std/assert";
import type {
  SchedulerRequest,
  SeededSamplingParams,
} from "../../../../src/engine/scheduler/scheduler.ts";
import type { PlannedSampling, StepPlan } from "../../../../src/engine/step_plan.ts";
import { openCpuDevice } from "../../../../src/tensor/cpu/device.ts";
import type { Device } from "../../../../src/tensor/device.ts";
import { GREEDY, RunnerHarness, type RunnerHarnessOptions } from "../_runner.ts";

const model = new URL("../../../fixtures/golden/llama", import.meta.url).pathname;

/** More requests than run at once, of all kinds, over too few blocks. */
function load(): SchedulerRequest[] {
  const request = (id: number, length: number, sampling: Partial<SeededSamplingParams>) => ({
    id,
    promptTokenIds: Array.from({ length }, (_, i) => 2 + (id * 31 + i * 7) % 300),
    sampling: { ...GREEDY, ...sampling },
    eosTokenIds: [],
  });
  return [
    request(0, 5, {}),
    request(1, 40, { maxTokens: 30 }),
    request(2, 1, { temperature: 0.8, seed: 77n, maxTokens: 30 }),
    request(3, 17, { temperature: 1, topK: 20, topP: 0.8, minP: 0.01 }),
    request(4, 30, { promptLogprobs: 2, logprobs: 3 }),
    request(5, 16, { logprobs: -1, maxTokens: 6 }),
    request(6, 33, { maxTokens: 50 }),
    request(7, 9, { temperature: 0.5, topK: 5, maxTokens: 40 }),
    request(8, 3, { maxTokens: 0, promptLogprobs: 0 }),
    request(9, 12, { presencePenalty: 1, frequencyPenalty: 0.5, maxTokens: 24 }),
    request(10, 20, { repetitionPenalty: 1.4, temperature: 0.7, topP: 0.9, logprobs: 2 }),
    request(11, 6, { allowedTokenIds: [5, 9, 40, 77, 120], logitBias: { 9: 3 }, logprobs: -1 }),
  ];
}

/** A CPU device that counts what is queued. */
function countingDevice() {
  const device = openCpuDevice({ threads: 1 });
  const counts = { uploads: 0, recordings: 0, replays: 0 };
  const counting: Device = {
    ...device,
    upload(destination, source) {
      counts.uploads++;
      device.upload(destination, source);
    },
    record(run) {
      counts.recordings++;
      return {
        replay() {
          counts.replays++;
          run();
        },
        [Symbol.dispose]() {},
      };
    },
  };
  return { device: counting, counts };
}

function run(options: Partial<RunnerHarnessOptions>) {
  const { device, counts } = countingDevice();
  using _ = device;
  using harness = new RunnerHarness({ device, model, record: false, ...options });
  const outputs = harness.run(load());
  return { outputs, counts, stats: harness.scheduler.stats };
}

Deno.test("padded and recorded steps give what steps of their own size give", () => {
  const eager = run({});
  const recorded = run({ record: true });
  assertEquals(recorded.outputs, eager.outputs);
  assertEquals(eager.counts.recordings, 0);
  assertGreater(recorded.counts.recordings, 4);
  assertGreater(recorded.counts.replays, recorded.counts.recordings);
});

Deno.test("the load preempts and gives the same whatever is in flight", () => {
  const alone = run({ maxNumSeqs: 1, lookahead: 0 });
  const options = { numBlocks: 8, record: true };
  for (const lookahead of [0, 1, 3]) {
    const { outputs, stats } = run({ ...options, lookahead });
    assertEquals(outputs, alone.outputs);
    assertGreater(stats.preemptions, 0);
  }
});

Deno.test("logits that fit only in parts are computed in parts", () => {
  assertEquals(run({ maxLogitRows: 2, record: true }).outputs, run({}).outputs);
});

const DRAW: PlannedSampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seedLow: 1,
  seedHigh: 2,
  choice: 0,
  logprobs: null,
};

/** A prompt of `tokens` in `slot`, then decode steps whose input is what the step before drew. */
function plan(step: number, slots: readonly number[], tokens: number[] | null): StepPlan {
  return {
    step,
    sequences: slots.map((slot) => ({
      slot,
      startPosition: tokens ? 0 : step + 2,
      numTokens: tokens?.length ?? 1,
      tokens,
      inputStep: tokens ? -1 : step - 1,
      firstNewBlock: tokens ? 0 : 1,
      newBlocks: tokens ? [slot + 1] : [],
      sampling: DRAW,
      adjustments: null,
      promptTargets: null,
      promptLogprobs: 0,
    })),
  };
}

Deno.test("steps are finished in their order, after later ones have been started", () => {
  for (const record of [false, true]) {
    const { device, counts } = countingDevice();
    using _ = device;
    using harness = new RunnerHarness({ device, model, record, maxNumSeqs: 4 });
    const { runner } = harness;
    if (record) runner.warmUp();
    const drawn = (step: ReturnType<typeof runner.start>) => {
      assert(step.isReady());
      return step.finish()!.map(({ token }) => token);
    };
    const oneByOne = [plan(0, [3, 1], [9, 8, 7]), plan(1, [3, 1], null), plan(2, [1, 3], null)]
      .map((plan) => drawn(runner.start(plan)));
    const together = [plan(0, [0, 2], [9, 8, 7]), plan(1, [0, 2], null), plan(2, [2, 0], null)]
      .map((plan) => runner.start(plan)).map(drawn);
    assertEquals(together, oneByOne);
    assertEquals(oneByOne[0][0], oneByOne[0][1]);
    const before = counts.uploads;
    runner.start(plan(3, [2, 0], null)).finish();
    // One for the batch, one for the sampler.
    assertEquals(counts.uploads - before, 2);
  }
});

Deno.test("warming up leaves nothing behind that a step could see", () => {
  const { device, counts } = countingDevice();
  using _ = device;
  using harness = new RunnerHarness({ device, model, record: true });
  harness.runner.warmUp();
  const made = counts.recordings;
  harness.runner.allocateCache(24);
  harness.runner.warmUp();
  assertEquals(counts.recordings, 2 * made);
  assertEquals(harness.run(load()), run({}).outputs);
});
