/**
 * Child process of garbage_test.ts: reads generations as a user does, and prints in JSON, by the size of the batch,
 * how many bytes a decode step leaves in this thread.
 * @module
 */
import { LlmEngine } from "../../../src/engine/llm_engine.ts";
import { collect, heapUsed } from "./_heap.ts";

const BATCHES = [1, 16];
const MAX_TOKENS = 100;
/** Chunks of a generation at which counting begins and ends: all others are decoding by then, and still are. */
const [FIRST, LAST] = [20, 90];
const WARM_ROUNDS = 3;
const ROUNDS = 3;

await using engine = await LlmEngine.load({
  model: new URL("../../fixtures/golden/llama", import.meta.url).pathname,
  device: "cpu",
  threads: 1,
  maxNumSeqs: Math.max(...BATCHES),
  maxModelLen: 128,
  numKvBlocks: 8 * Math.max(...BATCHES),
  text: null,
});
const request = {
  promptTokenIds: [5, 9, 2],
  sampling: { temperature: 0, maxTokens: MAX_TOKENS, ignoreEos: true },
};

/** Reads a generation to its end; returns what was allocated here between two of its chunks. */
async function read(): Promise<number> {
  let [seen, begun, allocated] = [0, 0, 0];
  for await (const _ of engine.generate(request)) {
    seen++;
    if (seen === FIRST) begun = heapUsed();
    if (seen === LAST) allocated = heapUsed() - begun;
  }
  return allocated / (LAST - FIRST);
}

/** What a step allocated while all of them decoded, as the last one to come saw it. */
async function round(batch: number): Promise<number> {
  const all = await Promise.all(Array.from({ length: batch }, read));
  collect();
  return all[batch - 1];
}

const allocated: Record<number, number> = {};
for (const batch of BATCHES) {
  for (let i = 0; i < WARM_ROUNDS; i++) await round(batch);
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(batch));
  allocated[batch] = rounds.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)];
}
console.log(JSON.stringify({ allocated }));
