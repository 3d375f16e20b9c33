/**
 * Child process of garbage_test.ts: plans decode steps, runs them in the loop of a rank, and prints in JSON, by
 * the size of the batch, how many bytes a run of them allocates there; and how many a step keeps.
 * @module
 */
import { assert } from "@std/assert";
import { HostChannel } from "../../../src/distributed/host_channel.ts";
import { RankChannel } from "../../../src/distributed/rank_channel.ts";
import { RankLoop } from "../../../src/engine/rank/rank_loop.ts";
import { ResultDecoder } from "../../../src/engine/result_decoder.ts";
import { maxPlanBytes, PlanEncoder } from "../../../src/engine/step_codec.ts";
import type { StepPlan } from "../../../src/engine/step_plan.ts";
import { openCpuDevice } from "../../../src/tensor/cpu/device.ts";
import { bytesOfMeasurement, collect, heapUsed } from "./_heap.ts";
import { GREEDY, RunnerHarness } from "./_runner.ts";

const BATCHES = [1, 4, 16];
const MOST = Math.max(...BATCHES);
const STEPS_A_ROUND = 60;
/** Rounds until V8 has compiled what runs; short-lived objects of its lower tiers would count. */
const WARM_ROUNDS = 320;
const ROUNDS = 8;

using device = openCpuDevice({ threads: 1 });
const limits = { maxNumSeqs: MOST, maxNumBatchedTokens: 3 * MOST, maxHitBlocks: 8 * MOST };
using harness = new RunnerHarness({
  device,
  model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
  record: false,
  ...limits,
  numBlocks: MOST * 8,
  lookahead: STEPS_A_ROUND,
});
const { scheduler, runner } = harness;
await using channel = HostChannel.create({
  ranks: 1,
  plansInFlight: STEPS_A_ROUND + 1,
  maxPlanBytes: maxPlanBytes({ ...limits, maxAdjustments: 0, vocabSize: 0 }),
  boardSteps: STEPS_A_ROUND,
  boardSlots: MOST,
});
using rankChannel = RankChannel.open(channel.handle, { rank: 0 });
const loop = new RankLoop({ channel: rankChannel, runner, reports: true, timeoutMs: 10_000 });
const plans = new PlanEncoder();
const results = new ResultDecoder();
let ended = () => {};
channel.receive((bytes) => {
  scheduler.update(results.decode(bytes));
  if (!scheduler.hasWork) ended();
});

function publish(plan: StepPlan): void {
  channel.publish(plans.encode(plan, channel.nextPlan()));
}

/** Runs what was published in the loop of a rank, up to an empty plan; returns what that allocated. */
function runRank(): number {
  channel.publish(0);
  const before = heapUsed();
  loop.run();
  return heapUsed() - before;
}

/** One prefill step, then decode steps; returns what the latter allocated on the rank. */
async function round(batch: number): Promise<number> {
  for (let id = 0; id < batch; id++) {
    scheduler.add({
      id,
      promptTokenIds: [5, 9, 2],
      sampling: { ...GREEDY, maxTokens: STEPS_A_ROUND },
      eosTokenIds: [],
    });
  }
  const prefill = scheduler.schedule();
  assert(prefill);
  publish(prefill);
  runRank();
  for (let plan = scheduler.schedule(); plan; plan = scheduler.schedule()) publish(plan);
  const allocated = runRank();
  await new Promise<void>((resolve) => ended = resolve);
  return allocated;
}

for (const batch of BATCHES) {
  for (let i = 0; i < WARM_ROUNDS / batch; i++) await round(batch);
}
const measurement = bytesOfMeasurement();
collect();
const before = heapUsed();
const allocated: Record<number, number> = {};
for (const batch of BATCHES) {
  const runs: number[] = [];
  for (let i = 0; i < ROUNDS; i++) runs.push(await round(batch) - measurement);
  // V8 may compile a function late in one of them.
  allocated[batch] = Math.min(...runs);
}
collect();
const steps = BATCHES.length * ROUNDS * (STEPS_A_ROUND - 1);
console.log(JSON.stringify({ allocated, retained: (heapUsed() - before) / steps }));
