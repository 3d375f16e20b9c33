/**
 * Child process of rank/garbage_test.ts: decodes, and prints in JSON what a step leaves on JavaScript's heap,
 * before and after collection, in bytes. Needs `--v8-flags=--expose-gc,--min-semi-space-size=64`, so that
 * nothing is collected in between.
 * @module
 */
import { openCpuDevice } from "../../../src/tensor/cpu/device.ts";
import { GREEDY, RunnerHarness } from "./_runner.ts";

const BATCH = 4;
const STEPS_A_ROUND = 60;
/** Rounds until V8 has compiled what runs; short-lived objects of its lower tiers would count. */
const WARM_ROUNDS = 40;
const ROUNDS = 10;

const { gc: collect } = globalThis as unknown as { readonly gc: () => void };
const heapUsed = () => Deno.memoryUsage().heapUsed;

using device = openCpuDevice({ threads: 1 });
using harness = new RunnerHarness({
  device,
  model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
  record: false,
  maxNumSeqs: BATCH,
  numBlocks: BATCH * 8,
});

function decode(): void {
  harness.run(Array.from({ length: BATCH }, (_, id) => ({
    id,
    promptTokenIds: [5, 9, 2],
    sampling: { ...GREEDY, maxTokens: STEPS_A_ROUND },
    eosTokenIds: [],
  })));
}

for (let round = 0; round < WARM_ROUNDS; round++) decode();
collect();
const before = heapUsed();
let allocated = 0;
for (let round = 0; round < ROUNDS; round++) {
  const start = heapUsed();
  decode();
  allocated += heapUsed() - start;
  collect();
}
const steps = ROUNDS * STEPS_A_ROUND;
console.log(JSON.stringify({
  allocated: allocated / steps,
  retained: (heapUsed() - before) / steps,
}));
