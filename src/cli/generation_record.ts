/**
 * What `weft generate` prints of one prompt.
 * @module
 */
import type { FinishReason, GenerationChunk, TokenLogprob } from "../engine/types.ts";
import { finiteLogprob } from "../serving/token_names.ts";

/** Log-probability of a generated token and of the most likely ones at its place. */
export interface LogprobRecord {
  /** The token. */
  readonly token_id: number;
  /** Its log-probability; -9999 stands for -Infinity. */
  readonly logprob: number;
  /** The most likely tokens, descending: `[id, logprob]`. */
  readonly top: readonly (readonly [number, number])[];
}

/** Result of one prompt, in the form in which it is printed. */
export interface GenerationRecord {
  /** Tokens of the prompt. */
  readonly prompt_token_ids: readonly number[];
  /** Tokens that were generated, a final end token included. */
  readonly token_ids: readonly number[];
  /** Their text; empty when the model has no tokenizer. */
  readonly text: string;
  /** Why the generation ended. */
  readonly finish_reason: FinishReason | null;
  /** Numbers of tokens. */
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
  };
  /** One entry a generated token, when asked for. */
  readonly logprobs?: readonly LogprobRecord[];
  /** One number a prompt token, the first null, when asked for. */
  readonly prompt_logprobs?: readonly (number | null)[];
}

/** Gathers the chunks of one generation. */
export async function collectGeneration(
  promptTokenIds: readonly number[],
  chunks: AsyncIterable<GenerationChunk>,
): Promise<GenerationRecord> {
  const tokenIds: number[] = [];
  let text = "";
  let finishReason: FinishReason | null = null;
  let logprobs: LogprobRecord[] | undefined;
  let promptLogprobs: (number | null)[] | undefined;
  for await (const chunk of chunks) {
    tokenIds.push(...chunk.tokenIds);
    text += chunk.text;
    if (chunk.logprobs) (logprobs ??= []).push(...chunk.logprobs.map(logprobRecord));
    promptLogprobs ??= chunk.promptLogprobs?.map((entry) => entry && finiteLogprob(entry.logprob));
    finishReason = chunk.finishReason;
  }
  return {
    prompt_token_ids: promptTokenIds,
    token_ids: tokenIds,
    text,
    finish_reason: finishReason,
    usage: {
      prompt_tokens: promptTokenIds.length,
      completion_tokens: tokenIds.length,
      total_tokens: promptTokenIds.length + tokenIds.length,
    },
    logprobs,
    prompt_logprobs: promptLogprobs,
  };
}

function logprobRecord({ tokenId, logprob, top }: TokenLogprob): LogprobRecord {
  return {
    token_id: tokenId,
    logprob: finiteLogprob(logprob),
    top: top.map(([id, value]) => [id, finiteLogprob(value)] as const),
  };
}
