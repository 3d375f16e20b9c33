/**
 * Clients that all ask at once, through the engine: `deno run -A bench/gpu/serving.ts 8b 64`.
 * @module
 */
import { median, randomPrompts } from "../../src/cli/throughput.ts";
import { report } from "./_figures.ts";
import { ConfigFolder } from "./_models.ts";

const PROMPT_TOKENS = 1024;
const OUTPUT_TOKENS = 256;

/** What one client saw, in seconds. */
interface ClientTimes {
  readonly toFirstToken: number;
  readonly perLaterToken: number;
}

const [model = "8b", clientsText = "64"] = Deno.args;
const clients = Number(clientsText);
using folder = new ConfigFolder(model);
await using engine = await folder.load({
  maxModelLen: PROMPT_TOKENS + OUTPUT_TOKENS + 16,
  maxNumSeqs: clients,
  maxNumBatchedTokens: 8192,
});

async function client(
  promptTokenIds: readonly number[],
  maxTokens: number,
): Promise<ClientTimes> {
  const sampling = { temperature: 0, ignoreEos: true, maxTokens };
  const start = performance.now();
  let first = NaN;
  for await (const { tokenIds } of engine.generate({ promptTokenIds, sampling })) {
    if (Number.isNaN(first) && tokenIds.length > 0) first = performance.now();
  }
  const end = performance.now();
  return {
    toFirstToken: (first - start) / 1000,
    perLaterToken: (end - first) / 1000 / Math.max(1, maxTokens - 1),
  };
}

const { vocabSize } = folder.config;
const prompts = (seed: number) =>
  randomPrompts({ count: clients, length: PROMPT_TOKENS, vocabSize, seed });
await Promise.all(prompts(0).slice(0, 8).map((prompt) => client(prompt, 16)));

const start = performance.now();
const times = await Promise.all(prompts(1).map((prompt) => client(prompt, OUTPUT_TOKENS)));
const seconds = (performance.now() - start) / 1000;
report({
  name: `serving ${model}, ${clients} clients`,
  value: clients * OUTPUT_TOKENS / seconds,
  unit: "token/s",
  details: {
    prompt: PROMPT_TOKENS,
    output: OUTPUT_TOKENS,
    seconds: Number(seconds.toFixed(2)),
    "median first token s": Number(median(times.map((t) => t.toFirstToken)).toFixed(2)),
    "median later token ms": Number((1e3 * median(times.map((t) => t.perLaterToken))).toFixed(2)),
    preemptions: engine.stats.preemptions,
  },
});
