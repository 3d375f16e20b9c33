/** Clients that all ask a server at once. */
import { median, randomPrompts } from "../../../src/cli/throughput.ts";
import { figuresOf, type Sample, type Side } from "../alternate.ts";
import { burst } from "../http_clients.ts";
import { type Bench, type Case, caseName, casesOf, type Part } from "../part.ts";
import { makeRow, type Row, type Target } from "../row.ts";
import type { ServerProcess } from "../server_process.ts";
import { configOf, FORMATS } from "../shapes.ts";

const CLIENTS = 16;
const PROMPT_TOKENS = 128;
const OUTPUT_TOKENS = 64;
const WARM_UP_TOKENS = 8;

/** Positions of a sequence, with room for what a server adds. */
const CONTEXT = 256;

/** 16 clients, 128 tokens in and 64 out. */
export const http: Part = { cases: casesOf(["135m"], ["int8"]), measure };

async function measure(bench: Bench, testCase: Case): Promise<Row[]> {
  const { shape, format } = testCase;
  const { weft, llamaCpp, models, threads } = bench;
  const { vocabSize } = configOf(shape);
  const checkpoint = await models.checkpoint(shape, format);
  const flags = [
    ...FORMATS[format].weftFlags,
    ...["--threads", String(threads), "--max-model-len", String(CONTEXT)],
  ];
  const sides: Side[] = [{
    name: "weft",
    run: () => serve(() => weft.serve({ model: checkpoint, flags }), vocabSize),
  }];
  if (llamaCpp) {
    const model = models.gguf(shape, format);
    sides.push({
      name: "llama-server",
      run: () =>
        serve(() => llamaCpp.serve({ model, slots: CLIENTS, context: CONTEXT }), vocabSize),
    });
  }
  const [ours, theirs] = await bench.alternate(`http, ${caseName(testCase)}`, sides);
  const common = {
    part: "http",
    model: caseName(testCase),
    work: `${CLIENTS} clients, ${PROMPT_TOKENS} in, ${OUTPUT_TOKENS} out`,
  };
  const subject = (name: string) => ({ name: "weft", samples: figuresOf(ours, name) });
  const baseline = (name: string) =>
    theirs && { name: "llama-server", samples: figuresOf(theirs, name) };
  // The targets are for int8.
  const targets = (target: Target) => format === "int8" ? [target] : [];
  return [
    makeRow({
      ...common,
      unit: "generated tok/s",
      subject: subject("rate"),
      baseline: baseline("rate"),
      targets: targets({ of: "ratio", sense: ">=", limit: 4 }),
    }),
    makeRow({
      ...common,
      unit: "s to the first token (p50)",
      subject: subject("firstToken"),
      baseline: baseline("firstToken"),
      targets: targets({ of: "ratio", sense: "<=", limit: 1 / 5 }),
    }),
  ];
}

/** One burst at a fresh server that has answered a client before. */
async function serve(
  start: () => Promise<ServerProcess>,
  vocabSize: number,
): Promise<Sample> {
  await using server = await start();
  const prompts = (count: number, seed: number) =>
    randomPrompts({ count, length: PROMPT_TOKENS, vocabSize, seed });
  await burst({ url: server.url, prompts: prompts(1, 1), maxTokens: WARM_UP_TOKENS });
  const { firstToken, tokens, seconds } = await burst({
    url: server.url,
    prompts: prompts(CLIENTS, 2),
    maxTokens: OUTPUT_TOKENS,
  });
  return { rate: tokens / seconds, firstToken: median(firstToken) };
}
