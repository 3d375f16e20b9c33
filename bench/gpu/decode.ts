/**
 * Decode speed of a model through the engine, in bf16 or with weights that are quantised while they are
 * loaded: `deno run -A bench/gpu/decode.ts 8b int8`.
 * @module
 */
import { bytesReadPerToken } from "../../src/cli/decode_traffic.ts";
import { storedWeights } from "../../src/cli/stored_weights.ts";
import { median, randomPrompts, timeDecode } from "../../src/cli/throughput.ts";
import { dtypeBytes } from "../../src/tensor/dtype.ts";
import { knownCeilings, report } from "./_figures.ts";
import { ConfigFolder } from "./_models.ts";

const BATCHES = [1, 8, 64];
const PROMPT_TOKENS = 512;
const DECODE_TOKENS = 128;
const REPETITIONS = 3;

const [model = "1b", format] = Deno.args;
if (format !== undefined && format !== "int8" && format !== "int4") {
  throw new Error(`Cannot measure ${format}: formats are int8 and int4`);
}
using folder = new ConfigFolder(model);
const { config } = folder;
const maxModelLen = 2048;
await using engine = await folder.load({
  maxModelLen,
  maxNumSeqs: Math.max(...BATCHES),
  maxNumBatchedTokens: 4096,
  quantization: format,
});
const weights = storedWeights({ model: folder.path, modelConfig: config, loadFormat: "dummy" });

for (const batch of BATCHES) {
  const decode = async (seed: number, decodeTokens: number) => {
    const prompts = randomPrompts({
      count: batch,
      length: PROMPT_TOKENS,
      vocabSize: config.vocabSize,
      seed,
    });
    const { tokens, seconds } = await timeDecode(engine, prompts, { decodeTokens, maxModelLen });
    return tokens / seconds;
  };
  await decode(0, 16);
  const rates: number[] = [];
  for (let seed = 1; seed <= REPETITIONS; seed++) rates.push(await decode(seed, DECODE_TOKENS));
  const rate = median(rates);
  const bytes = bytesReadPerToken(config, weights, {
    batch,
    context: PROMPT_TOKENS + DECODE_TOKENS / 2,
    kvBytesPerToken: 2 * config.numLayers * config.numKvHeads * config.headDim * dtypeBytes("bf16"),
    device: "cuda",
    format: null,
    quantization: format,
  });
  report({
    name: `decode ${model}${format ? ` ${format}` : ""}, batch ${batch}`,
    value: rate,
    unit: "token/s",
    of: "copy bandwidth",
    share: rate * bytes / knownCeilings().copyBytesPerSecond,
    details: { prompt: PROMPT_TOKENS, "step us": Math.round(1e6 * batch / rate) },
  });
}
