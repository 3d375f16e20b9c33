/**
 * Child process of garbage_test.ts: schedules for a rank in another thread, as an engine's thread does, and prints
 * in JSON, by the size of the batch, how many bytes a decode step allocates here.
 * @module
 */
import { resolveEngineConfig } from "../../../src/engine/engine_config.ts";
import { EngineCore } from "../../../src/engine/engine_core.ts";
import { launchEngineRanks } from "../../../src/engine/engine_ranks.ts";
import { RankExecutor } from "../../../src/engine/rank_executor.ts";
import { Scheduler, type SchedulerOutput } from "../../../src/engine/scheduler/scheduler.ts";
import { KV_BLOCK_SIZE } from "../../../src/tensor/attention_kernels.ts";
import { collect, heapUsed } from "./_heap.ts";
import { GREEDY } from "./_runner.ts";

const BATCHES = [1, 16];
const MAX_TOKENS = 100;
/** Outputs of a request at which counting begins and ends: all others are decoding by then, and still are. */
const [FIRST, LAST] = [20, 90];
const WARM_ROUNDS = 15;
const ROUNDS = 3;

const config = resolveEngineConfig({
  model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
  device: "cpu",
  threads: 1,
  maxNumSeqs: Math.max(...BATCHES),
  maxModelLen: 128,
  numKvBlocks: 8 * Math.max(...BATCHES),
});
await using executor = new RankExecutor(config);
await using _ranks = launchEngineRanks(config, executor.handle);
const { numBlocks } = await executor.waitUntilReady(() => {});
const scheduler = new Scheduler({
  maxNumSeqs: config.maxNumSeqs,
  maxNumBatchedTokens: config.maxNumBatchedTokens,
  numBlocks,
  blockSize: KV_BLOCK_SIZE,
  maxModelLen: config.maxModelLen,
  pipelineStages: 1,
  lookahead: config.lookahead,
  vocabSize: config.modelConfig.vocabSize,
  maxHitBlocks: config.maxHitBlocks,
  maxAdjustments: config.maxAdjustments,
  cacheSecret: "",
});
let progress: (outputs: readonly SchedulerOutput[]) => void = () => {};
const core = new EngineCore(scheduler, executor, {
  progress: (outputs) => progress(outputs),
  dead: (reason) => {
    throw new Error(reason);
  },
});

/** Runs requests to their ends; returns what a step allocated while all of them decoded. */
async function round(batch: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let [seen, begun, allocated] = [0, 0, 0];
  progress = (outputs) => {
    for (let i = 0; i < outputs.length; i++) {
      if (outputs[i].id !== batch - 1) continue;
      seen++;
      if (seen === FIRST) begun = heapUsed();
      if (seen === LAST) allocated = heapUsed() - begun;
      if (outputs[i].finishReason !== null) resolve();
    }
  };
  const sampling = { ...GREEDY, maxTokens: MAX_TOKENS };
  for (let id = 0; id < batch; id++) {
    core.add({ id, promptTokenIds: [5, 9, 2], sampling, eosTokenIds: [] });
  }
  await promise;
  collect();
  return allocated / (LAST - FIRST);
}

const allocated: Record<number, number> = {};
// All of them first: a batch of one fills too few blocks for V8 to compile what names them.
for (const batch of BATCHES) {
  for (let i = 0; i < WARM_ROUNDS; i++) await round(batch);
}
for (const batch of BATCHES) {
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(batch));
  allocated[batch] = rounds.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)];
}
console.log(JSON.stringify({ allocated }));
