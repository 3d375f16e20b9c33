/**
 * Penalties, biases, bad words and allowed tokens on every kind of layout, against plain code that looks at all
 * logits of a model that knows nothing of them.
 */
import { assertEquals } from "@std/assert";
import { badWordTokens } from "../../src/engine/bad_words.ts";
import { LlmEngine } from "../../src/engine/llm_engine.ts";
import type { EngineOptions, SamplingParams } from "../../src/engine/types.ts";
import type { SchedulerRequest } from "../../src/engine/scheduler/scheduler.ts";
import { openCpuDevice } from "../../src/tensor/cpu/device.ts";
import { TextProcessor } from "../../src/text/text_processor.ts";
import { adjustPlainly } from "../unit/engine/_adjustments.ts";
import { GREEDY, RunnerHarness } from "../unit/engine/_runner.ts";
import { drawnRow, referenceToken } from "../unit/engine/_sampling.ts";
import { gpuCount, onEmulator } from "../gpu/_device.ts";
import { goldenFolder, readGoldenCase } from "./golden_case.ts";

const model = goldenFolder("llama");
const { input_ids: prompt } = readGoldenCase("llama");
const MAX_TOKENS = 24;

const gpus = await gpuCount();

/** What each request asks for, beside a temperature of 0 and its number as the seed. */
const ASKED: readonly Partial<SamplingParams>[] = [
  { presencePenalty: 2 },
  { frequencyPenalty: 1.5, presencePenalty: -0.5, temperature: 0.8 },
  { repetitionPenalty: 1.8 },
  { repetitionPenalty: 0.7, temperature: 1, topP: 0.9, topK: 40 },
  { logitBias: { 5: 6, 17: -100, 60: 100 }, presencePenalty: 1.75, frequencyPenalty: 2 },
  { allowedTokenIds: [4, 9, 33, 34, 35, 300], temperature: 1.5 },
  { allowedTokenIds: [3, 7, 50, 51, 99], repetitionPenalty: 1.3, logitBias: { 50: 1.5 } },
  { badWords: ["e", "th", "in", "a b"], presencePenalty: 1 },
];

function samplingOf(index: number): SamplingParams & { readonly seed: bigint } {
  return { ...GREEDY, maxTokens: MAX_TOKENS, ...ASKED[index], seed: BigInt(index) };
}

/** The tokens of a request, each drawn from the logits of a model that computes all tokens before it anew. */
function plainTokens(harness: RunnerHarness, request: SchedulerRequest): number[] {
  const [, width] = harness.logits.shape;
  const { sampling } = request;
  const output: number[] = [];
  while (output.length < MAX_TOKENS) {
    const promptTokenIds = [...Array.from(request.promptTokenIds), ...output];
    const alone = { ...GREEDY, maxTokens: 1 };
    harness.run([{ id: output.length, promptTokenIds, sampling: alone, eosTokenIds: [] }]);
    const logits = harness.logits.download(new Float32Array(width));
    const { temperature, topK, topP, minP, seed } = sampling;
    const drawn = { temperature, topK, topP, minP, seedLow: Number(seed), seedHigh: 0 };
    const row = drawnRow({ ...drawn, choice: 0 }, { position: promptTokenIds.length });
    output.push(referenceToken(adjustPlainly(logits, request, output), row));
  }
  return output;
}

/** The first tokens that an engine gives for requests, asked for at once. */
async function tokensOf(
  options: Partial<EngineOptions>,
  { asked = [...ASKED.keys()], maxTokens = MAX_TOKENS }: {
    readonly asked?: readonly number[];
    readonly maxTokens?: number;
  } = {},
): Promise<number[][]> {
  await using engine = await LlmEngine.load({
    model,
    device: "cpu",
    dtype: "f32",
    numKvBlocks: 64,
    ...options,
  });
  return await Promise.all(asked.map(async (index) => {
    const tokens: number[] = [];
    const sampling = { ...samplingOf(index), maxTokens };
    const request = { promptTokenIds: prompt, sampling };
    for await (const { tokenIds } of engine.generate(request)) tokens.push(...tokenIds);
    return tokens;
  }));
}

async function plainAnswers(asked = [...ASKED.keys()]): Promise<number[][]> {
  using text = await TextProcessor.load(model);
  using device = openCpuDevice({ threads: 1 });
  using harness = new RunnerHarness({ device, model, record: false });
  const answers: number[][] = [];
  for (const index of asked) {
    const sampling = samplingOf(index);
    const badWords = await badWordTokens(sampling.badWords, text!);
    const request = { id: 0, promptTokenIds: prompt, sampling, eosTokenIds: [], badWords };
    answers.push(plainTokens(harness, request));
  }
  return answers;
}

Deno.test("adjusted logits give the tokens of plain code, on every kind of layout", async (test) => {
  const expected = await plainAnswers();
  const layouts: Record<string, Partial<EngineOptions>> = {
    "one rank": { threads: 1 },
    "TP 2": { tensorParallelSize: 2 },
    "PP 2": { pipelineParallelSize: 2 },
    "TP 2 x PP 2": { tensorParallelSize: 2, pipelineParallelSize: 2 },
    "few blocks and slots": { numKvBlocks: 10, maxNumSeqs: 5, maxNumBatchedTokens: 16 },
  };
  for (const [name, options] of Object.entries(layouts)) {
    await test.step(name, async () => assertEquals(await tokensOf(options), expected));
  }
});

Deno.test({
  name: "adjusted logits give those tokens on two GPUs",
  ignore: gpus < 2,
  async fn() {
    // One of each kind, and on emulated GPUs, which take a thousand times as long, few tokens.
    const asked = [0, 2, 6];
    const maxTokens = onEmulator ? 4 : MAX_TOKENS;
    const options: Partial<EngineOptions> = {
      device: "cuda",
      tensorParallelSize: 2,
      maxNumSeqs: 4,
      maxNumBatchedTokens: 16,
    };
    const expected = await plainAnswers(asked);
    const answers = await tokensOf(options, { asked, maxTokens });
    assertEquals(answers, expected.map((tokens) => tokens.slice(0, maxTokens)));
  },
});
