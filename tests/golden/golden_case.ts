/** Reference cases, and what an engine answers to them. */
import { assert, assertEquals, assertLess } from "@std/assert";
import type { Replica, TokenLogprob } from "../../src/engine/types.ts";

/** A prompt with its float64 reference outputs; see tests/fixtures/README.md. */
export interface GoldenCase {
  readonly input_ids: number[];
  readonly prompt_logprobs: number[];
  readonly logits_last: number[];
  readonly greedy_ids: number[];
  readonly greedy_margins: number[];
}

/** What one engine answers. */
export interface Answer {
  /** Log-probability of each prompt token after the first. */
  readonly prompt: number[];
  /** Log-probabilities of the whole vocabulary after the prompt, by token id. */
  readonly vocabulary: number[];
  /** Greedy continuation. */
  readonly greedy: number[];
  /** Seeded draw with truncation; empty when none was asked for. */
  readonly drawn: number[];
}

/** Folders of tests/fixtures/golden. */
export const FAMILIES = ["llama", "llama31", "mistral", "qwen2", "qwen3", "mixtral", "gpt2"];

/** Folder of a family's checkpoint. */
export function goldenFolder(family: string): string {
  return new URL(`../fixtures/golden/${family}`, import.meta.url).pathname;
}

/** Reads a family's case. */
export function readGoldenCase(family: string): GoldenCase {
  return JSON.parse(Deno.readTextFileSync(`${goldenFolder(family)}/golden.json`));
}

/** Runs the case: all requests at once, so that they share batches; without `draw` the draw is left out. */
export async function answer(
  replica: Replica,
  golden: GoldenCase,
  { maxTokens = golden.greedy_ids.length, draw = true }: {
    readonly maxTokens?: number;
    readonly draw?: boolean;
  } = {},
): Promise<Answer> {
  const promptTokenIds = golden.input_ids;
  const [prompt, greedy, drawn] = await Promise.all([
    collect(replica, promptTokenIds, { maxTokens: 1, promptLogprobs: 0, logprobs: -1 }),
    collect(replica, promptTokenIds, { maxTokens }),
    draw
      ? collect(replica, promptTokenIds, {
        maxTokens,
        temperature: 0.9,
        topK: 50,
        topP: 0.9,
        minP: 0.01,
        seed: 1234n,
      })
      : null,
  ]);
  const vocabulary: number[] = [];
  for (const [id, logprob] of prompt.logprobs[0].top) vocabulary[id] = logprob;
  assertEquals(prompt.promptLogprobs[0], null);
  return {
    prompt: prompt.promptLogprobs.slice(1).map((entry) => entry!.logprob),
    vocabulary,
    greedy: greedy.tokenIds,
    drawn: drawn?.tokenIds ?? [],
  };
}

/** Compares an answer with the reference: log-probabilities to `tolerance`, greedy tokens up to a near-tie. */
export function assertGolden(
  actual: Answer,
  golden: GoldenCase,
  { tolerance = 1e-3 }: { readonly tolerance?: number } = {},
): void {
  assertClose(actual.prompt, golden.prompt_logprobs, tolerance);
  assertClose(actual.vocabulary, logSoftmax(golden.logits_last), tolerance);
  const tie = golden.greedy_margins.findIndex((margin) => margin < tolerance);
  const certain = Math.min(actual.greedy.length, tie < 0 ? golden.greedy_ids.length : tie);
  assert(certain > 0);
  assertEquals(actual.greedy.slice(0, certain), golden.greedy_ids.slice(0, certain));
}

/** Compares the log-probabilities of two answers: each to `tolerance`, or all in the mean to `mean`. */
export function assertAlike(
  actual: Pick<Answer, "prompt" | "vocabulary">,
  expected: Pick<Answer, "prompt" | "vocabulary">,
  { tolerance = Infinity, mean = Infinity }: {
    readonly tolerance?: number;
    readonly mean?: number;
  },
): void {
  for (const kind of ["prompt", "vocabulary"] as const) {
    assertClose(actual[kind], expected[kind], tolerance);
    const sum = actual[kind].reduce((sum, x, i) => sum + Math.abs(x - expected[kind][i]), 0);
    assertLess(sum / actual[kind].length, mean);
  }
}

/** The log-probabilities of a case. */
export function goldenLogprobs(golden: GoldenCase): Pick<Answer, "prompt" | "vocabulary"> {
  return { prompt: golden.prompt_logprobs, vocabulary: logSoftmax(golden.logits_last) };
}

interface Collected {
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprob[];
  readonly promptLogprobs: (TokenLogprob | null)[];
}

async function collect(
  replica: Replica,
  promptTokenIds: number[],
  sampling: Record<string, unknown>,
): Promise<Collected> {
  const out: Collected = { tokenIds: [], logprobs: [], promptLogprobs: [] };
  const request = { promptTokenIds, sampling: { temperature: 0, ignoreEos: true, ...sampling } };
  for await (const chunk of replica.generate(request)) {
    out.tokenIds.push(...chunk.tokenIds);
    out.logprobs.push(...chunk.logprobs ?? []);
    out.promptLogprobs.push(...chunk.promptLogprobs ?? []);
  }
  return out;
}

function logSoftmax(logits: number[]): number[] {
  const max = Math.max(...logits);
  const logSum = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return logits.map((logit) => logit - logSum);
}

function assertClose(actual: number[], expected: number[], tolerance: number): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((value, i) => assertLess(Math.abs(value - expected[i]), tolerance));
}
