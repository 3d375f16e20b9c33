/**
 * Prefill speed of a model through the engine: `deno run -A bench/gpu/prefill.ts 8b`.
 * @module
 */
import { median, randomPrompts, timePrefill } from "../../src/cli/throughput.ts";
import { knownCeilings, report } from "./_figures.ts";
import { ConfigFolder, prefillFlops } from "./_models.ts";

const LENGTHS = [2048, 8192];
const REPETITIONS = 3;

const [model = "1b"] = Deno.args;
using folder = new ConfigFolder(model);
const { config } = folder;
const longest = Math.max(...LENGTHS);
await using engine = await folder.load({
  maxModelLen: longest + 16,
  maxNumSeqs: 2,
  maxNumBatchedTokens: longest,
});

for (const length of LENGTHS) {
  const prefill = async (seed: number) => {
    const prompts = randomPrompts({ count: 1, length, vocabSize: config.vocabSize, seed });
    const { tokens, seconds } = await timePrefill(engine, prompts);
    return tokens / seconds;
  };
  await prefill(0);
  const rates: number[] = [];
  for (let seed = 1; seed <= REPETITIONS; seed++) rates.push(await prefill(seed));
  const rate = median(rates);
  const flopsPerSecond = prefillFlops(config, length) * rate / length;
  report({
    name: `prefill ${model}, ${length} tokens`,
    value: rate,
    unit: "token/s",
    of: "GEMM ceiling",
    share: flopsPerSecond / knownCeilings().gemmFlopsPerSecond,
    details: { "TFLOP/s": Math.round(flopsPerSecond / 1e12) },
  });
}
