/** Steps on a GPU: what is in flight, how batches are padded and what is recorded change no token. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { SchedulerOutput, SchedulerRequest } from "../../src/engine/scheduler/scheduler.ts";
import { GREEDY, RunnerHarness } from "../unit/engine/_runner.ts";
import { assertNothingLeft, openTestDevice } from "./_device.ts";

const model = new URL("../fixtures/golden/llama", import.meta.url).pathname;

const REQUESTS: SchedulerRequest[] = [
  { length: 5, sampling: { maxTokens: 7 } },
  { length: 1, sampling: { maxTokens: 6, temperature: 0.8, seed: 77n } },
  { length: 18, sampling: { maxTokens: 4, temperature: 1, topK: 20, topP: 0.8, minP: 0.01 } },
  { length: 9, sampling: { maxTokens: 3, promptLogprobs: 1, logprobs: 2 } },
  { length: 4, sampling: { maxTokens: 3, repetitionPenalty: 1.5, presencePenalty: 1 } },
  { length: 2, sampling: { maxTokens: 3, allowedTokenIds: [3, 50, 200, 310], logprobs: 1 } },
].map(({ length, sampling }, id) => ({
  id,
  promptTokenIds: Array.from({ length }, (_, i) => 2 + (id * 31 + i * 7) % 300),
  sampling: { ...GREEDY, ...sampling },
  eosTokenIds: [],
}));

type Outputs = Map<number | string, SchedulerOutput[]>;

async function run(options: {
  readonly record: boolean;
  readonly lookahead: number;
  readonly maxNumSeqs?: number;
}): Promise<Outputs> {
  using device = await openTestDevice();
  using harness = new RunnerHarness({ device, model, maxNumBatchedTokens: 16, ...options });
  return harness.run(REQUESTS);
}

function tokens(outputs: Outputs): number[][] {
  return [...outputs.values()].map((chunks) => chunks.flatMap(({ tokenIds }) => tokenIds));
}

Deno.test("recorded steps give what eager steps give, however many are under way", async () => {
  const eager = await run({ record: false, lookahead: 0, maxNumSeqs: 3 });
  assertEquals(tokens(eager).map(({ length }) => length), [7, 6, 4, 3, 3, 3]);
  const recorded = await run({ record: true, lookahead: 2, maxNumSeqs: 3 });
  // Products of one row and of several differ in the last bits, and so may log-probabilities.
  assertEquals(tokens(recorded), tokens(eager));
  assertEquals(tokens(await run({ record: true, lookahead: 1, maxNumSeqs: 1 })), tokens(eager));
  await assertNothingLeft();
});

Deno.test("a step is queued while those before it are unread", async () => {
  using device = await openTestDevice();
  using harness = new RunnerHarness({ device, model, record: true, lookahead: 3, maxNumSeqs: 2 });
  harness.runner.warmUp();
  harness.runner.allocateCache(8);
  harness.runner.warmUp();
  const { free, total } = device.memoryInfo();
  assert(free < total);
  // One whose logits are as they are, and one whose tokens are masked.
  for (const id of [0, 5]) harness.scheduler.add(REQUESTS[id]);
  const pending = [];
  for (let plan = harness.scheduler.schedule(); plan; plan = harness.scheduler.schedule()) {
    pending.push(harness.runner.start(plan));
  }
  assertGreater(pending.length, 2);
  const drawn = pending.map((step) => step.finish()!.map(({ token }) => token));
  assert(drawn.flat().every((token) => token >= 0 && token < 320));
  assert(pending.every((step) => step.isReady()));
  // Decode steps take no memory.
  assertEquals(device.memoryInfo().free, free);
});
