/** From the start of a server to its first token, and the memory that it takes. */
import { median, randomPrompts } from "../../../src/cli/throughput.ts";
import { figuresOf, type Sample, type Side } from "../alternate.ts";
import { ggufBytesPerToken } from "../gguf_model.ts";
import { burst } from "../http_clients.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Row, type Target } from "../row.ts";
import type { ServerProcess } from "../server_process.ts";
import { configOf, FORMATS } from "../shapes.ts";

const PROMPT_TOKENS = 512;
const CONTEXT = 1024;
const KV_BLOCK_TOKENS = 16;

/** Bytes of a key's or value's element: both sides' caches hold 16 bits. */
const KV_BYTES = 2;
const ALLOWED_BYTES = 150e6;

/** Start to first token beyond the time of its prefill, and peak memory; weights are in the page cache. */
export const load: Part = { cases: casesOf(["135m", "1b"], ["bf16", "int8"]), measure };

async function measure(bench: Bench, testCase: Case): Promise<Row[]> {
  const { shape, format } = testCase;
  const { weft, llamaCpp, models, threads } = bench;
  const config = configOf(shape);
  const checkpoint = await models.checkpoint(shape, format);
  const flags = [
    ...FORMATS[format].weftFlags,
    ...["--threads", String(threads), "--max-model-len", String(CONTEXT)],
    ...["--num-kv-blocks", String(CONTEXT / KV_BLOCK_TOKENS)],
  ];
  const sides: Side[] = [{
    name: "weft",
    run: () => startAndAsk(() => weft.serve({ model: checkpoint, flags }), config.vocabSize),
  }];
  if (llamaCpp) {
    const model = models.gguf(shape, format);
    sides.push({
      name: "llama-server",
      run: () =>
        startAndAsk(() => llamaCpp.serve({ model, slots: 1, context: CONTEXT }), config.vocabSize),
    });
  }
  // Once each, so that files are in the page cache and kernels compiled.
  for (const side of sides) await side.run().catch(() => {});
  const [ours, theirs] = await bench.alternate(`load, ${caseName(testCase)}`, sides);
  const kvBytes = 2 * config.numLayers * config.numKvHeads * config.headDim * KV_BYTES * CONTEXT;
  const memory = ggufBytesPerToken(config, FORMATS[format].gguf) + kvBytes + ALLOWED_BYTES;
  const row = (figure: string, work: string, unit: string, targets: readonly Target[]) =>
    makeRow({
      part: "load",
      model: caseName(testCase),
      work,
      unit,
      subject: { name: "weft", samples: figuresOf(ours, figure) },
      baseline: theirs && { name: "llama-server", samples: figuresOf(theirs, figure) },
      targets,
    });
  const inPlace = format === "bf16";
  return [
    row("seconds", "start to first token, less prefill", "s", [
      ...(inPlace ? [{ of: "figure", sense: "<=", limit: 1 } as const] : []),
    ]),
    row("megabytes", `peak memory, context of ${CONTEXT}`, "MB", [
      ...(inPlace ? [{ of: "figure", sense: "<=", limit: memory / 1e6 } as const] : []),
    ]),
  ];
}

async function startAndAsk(
  start: () => Promise<ServerProcess>,
  vocabSize: number,
): Promise<Sample> {
  await using server = await start();
  const prompts = randomPrompts({ count: 4, length: PROMPT_TOKENS, vocabSize, seed: 1 });
  const ask = async (prompt: readonly number[]) => {
    const { firstToken: [seconds] } = await burst({
      url: server.url,
      prompts: [prompt],
      maxTokens: 1,
    });
    return seconds;
  };
  await ask(prompts[0]);
  const total = (performance.now() - server.startedAt) / 1000;
  const warm: number[] = [];
  for (const prompt of prompts.slice(1)) warm.push(await ask(prompt));
  return { seconds: total - median(warm), megabytes: server.peakMemoryBytes / 1e6 };
}
