/**
 * Child process of rank/garbage_test.ts: decodes, and prints in JSON how many bytes a step allocates on
 * JavaScript's heap, in the loop of a rank and on the engine's side of the channel, and how many of them stay.
 * Needs `--v8-flags=--expose-gc,--min-semi-space-size=64`, so that nothing is collected in between.
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
import { GREEDY, RunnerHarness } from "./_runner.ts";

const BATCH = 4;
const STEPS_A_ROUND = 60;
/** Rounds until V8 has compiled what runs; short-lived objects of its lower tiers would count. */
const WARM_ROUNDS = 100;
const ROUNDS = 8;

const { gc: collect } = globalThis as unknown as { readonly gc: () => void };
const heapUsed = () => Deno.memoryUsage().heapUsed;

using device = openCpuDevice({ threads: 1 });
using harness = new RunnerHarness({
  device,
  model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
  record: false,
  maxNumSeqs: BATCH,
  numBlocks: BATCH * 8,
  lookahead: STEPS_A_ROUND,
});
const { scheduler, runner } = harness;

const limits = { maxNumSeqs: BATCH, maxNumBatchedTokens: 24 };
await using channel = HostChannel.create({
  ranks: 1,
  plansInFlight: STEPS_A_ROUND + 1,
  maxPlanBytes: maxPlanBytes(limits),
  boardSteps: STEPS_A_ROUND,
  boardSlots: BATCH,
});
using rankChannel = RankChannel.open(channel.handle, { rank: 0 });
const loop = new RankLoop({ channel: rankChannel, runner, reports: true, timeoutMs: 10_000 });

const plans = new PlanEncoder();
const results = new ResultDecoder();

function publish(plan: StepPlan): void {
  channel.publish(plans.encode(plan, channel.nextPlan()));
}

let ended = () => {};
channel.receive((bytes) => {
  scheduler.update(results.decode(bytes));
  if (!scheduler.hasWork) ended();
});

/** Runs what was published in the loop of a rank, up to an empty plan; returns what that allocated. */
function runRank(): number {
  channel.publish(0);
  const before = heapUsed();
  loop.run();
  return heapUsed() - before;
}

/** One prefill step and decode steps; returns what the latter allocated on either side. */
async function round(): Promise<{ rank: number; engine: number }> {
  for (let id = 0; id < BATCH; id++) {
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
  let engine = -heapUsed();
  for (let plan = scheduler.schedule(); plan; plan = scheduler.schedule()) publish(plan);
  engine += heapUsed();
  const rank = runRank();
  engine -= heapUsed();
  await new Promise<void>((resolve) => ended = resolve);
  engine += heapUsed();
  return { rank, engine };
}

for (let i = 0; i < WARM_ROUNDS; i++) await round();
collect();
const before = heapUsed();
let [rank, engine] = [0, 0];
for (let i = 0; i < ROUNDS; i++) {
  const allocated = await round();
  rank += allocated.rank;
  engine += allocated.engine;
  collect();
}
const steps = ROUNDS * (STEPS_A_ROUND - 1);
console.log(JSON.stringify({
  rank: rank / steps,
  engine: engine / steps,
  retained: (heapUsed() - before) / steps,
}));
