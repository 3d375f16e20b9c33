/**
 * How much the log-probabilities of a text change from one checkpoint to another.
 * @module
 */
import { LlmEngine } from "../engine/llm_engine.ts";

/** What changed. */
export interface CheckpointChange {
  /** Tokens that were predicted. */
  readonly tokens: number;
  /** Mean magnitude of the change of a token's log-probability. */
  readonly meanDifference: number;
  /** Largest magnitude. */
  readonly largestDifference: number;
  /** Perplexity of the text in the first checkpoint. */
  readonly perplexityBefore: number;
  /** Perplexity in the second. */
  readonly perplexityAfter: number;
}

/** Runs both checkpoints on the CPU, one after the other; `tokenIds`: two or more. */
export async function compareCheckpoints(
  before: string,
  after: string,
  options: { readonly tokenIds: readonly number[]; readonly threads: number | undefined },
): Promise<CheckpointChange> {
  const old = await promptLogprobs(before, options);
  const now = await promptLogprobs(after, options);
  const differences = now.map((logprob, i) => Math.abs(logprob - old[i]));
  return {
    tokens: now.length,
    meanDifference: mean(differences),
    largestDifference: Math.max(...differences),
    perplexityBefore: Math.exp(-mean(old)),
    perplexityAfter: Math.exp(-mean(now)),
  };
}

async function promptLogprobs(
  model: string,
  { tokenIds, threads }: { readonly tokenIds: readonly number[]; readonly threads?: number },
): Promise<number[]> {
  await using engine = await LlmEngine.load({
    model,
    device: "cpu",
    threads,
    text: null,
    maxNumSeqs: 1,
    maxModelLen: tokenIds.length + 1,
  });
  const sampling = { maxTokens: 1, temperature: 0, promptLogprobs: 0 };
  const logprobs: number[] = [];
  for await (const chunk of engine.generate({ promptTokenIds: tokenIds, sampling })) {
    for (const entry of chunk.promptLogprobs ?? []) if (entry) logprobs.push(entry.logprob);
  }
  return logprobs;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
