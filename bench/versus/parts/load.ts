/** From the start of a server to its first token, and the memory that it takes. */
import { median, randomPrompts } from "../../../src/cli/throughput.ts";
import { figuresOf, type Sample, type Side } from "../alternate.ts";
import { ggufBytes } from "../gguf_model.ts";
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

/**
 * Start to first token beyond the time of its prefill, and peak memory; weights are in the page cache. What
 * weft takes to copy its weights into panels is told apart.
 */
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
    run: () =>
      startAndAsk(() => weft.serve({ model: checkpoint, flags }), {
        vocabSize: config.vocabSize,
        copySeconds: weightSeconds,
      }),
  }];
  if (llamaCpp) {
    const model = models.gguf(shape, format);
    sides.push({
      name: "llama-server",
      run: () =>
        startAndAsk(() => llamaCpp.serve({ model, slots: 1, context: CONTEXT }), {
          vocabSize: config.vocabSize,
        }),
    });
  }
  // Once each, so that files are in the page cache and kernels compiled.
  for (const side of sides) await side.run().catch(() => {});
  const [ours, theirs] = await bench.alternate(`load, ${caseName(testCase)}`, sides);
  const kvBytes = 2 * config.numLayers * config.numKvHeads * config.headDim * KV_BYTES * CONTEXT;
  const memory = ggufBytes(config, FORMATS[format].gguf) + kvBytes + ALLOWED_BYTES;
  const hasTargets = shape === "1b" && format === "bf16";
  const row = (options: {
    readonly figure: string;
    readonly work: string;
    readonly unit: string;
    readonly limit?: number;
    readonly isCompared: boolean;
  }) => {
    const { figure, work, unit, limit, isCompared } = options;
    const targets: Target[] = hasTargets && limit !== undefined
      ? [{ of: "figure", sense: "<=", limit }]
      : [];
    return makeRow({
      part: "load",
      model: caseName(testCase),
      work,
      unit,
      subject: { name: "weft", samples: figuresOf(ours, figure) },
      baseline: isCompared && theirs
        ? { name: "llama-server", samples: figuresOf(theirs, figure) }
        : undefined,
      targets,
    });
  };
  return [
    row({
      figure: "seconds",
      work: `start to first token of ${PROMPT_TOKENS}`,
      unit: "s",
      isCompared: true,
    }),
    // A small difference of two times: their ratio says nothing.
    row({
      figure: "beyondPrefill",
      work: "start to first token, less prefill",
      unit: "s",
      isCompared: false,
    }),
    row({
      figure: "copy",
      work: "copy of the weights into panels",
      unit: "s",
      isCompared: false,
    }),
    row({
      figure: "inPlace",
      work: "start to first token, less prefill and copy",
      unit: "s",
      limit: 1,
      isCompared: false,
    }),
    row({
      figure: "megabytes",
      work: `peak memory, context of ${CONTEXT}`,
      unit: "MB",
      limit: memory / 1e6,
      isCompared: true,
    }),
  ];
}

async function startAndAsk(
  start: () => Promise<ServerProcess>,
  options: {
    readonly vocabSize: number;
    /** Seconds that the server took to copy weights; it reads them where they lie when left out. */
    readonly copySeconds?: (server: ServerProcess) => Promise<number>;
  },
): Promise<Sample> {
  const { vocabSize, copySeconds = () => Promise.resolve(0) } = options;
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
  const seconds = (performance.now() - server.startedAt) / 1000;
  const warm: number[] = [];
  for (const prompt of prompts.slice(1)) warm.push(await ask(prompt));
  const beyondPrefill = seconds - median(warm);
  const copy = await copySeconds(server);
  return {
    seconds,
    beyondPrefill,
    copy,
    inPlace: beyondPrefill - copy,
    megabytes: server.peakMemoryBytes / 1e6,
  };
}

/** What a server of weft says of itself. */
async function weightSeconds({ url }: ServerProcess): Promise<number> {
  const response = await fetch(`${url}/health`);
  const { engines: [{ backend }] } = await response.json();
  const seconds: unknown = backend.weightSeconds;
  if (typeof seconds === "number") return seconds;
  throw new Error(`Cannot tell how long weights were copied as ${url} does not say: ${seconds}`);
}
