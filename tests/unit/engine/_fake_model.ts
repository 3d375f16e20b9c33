/**
 * A model without weights: each token is a hash of all tokens before it, the seed and the position.
 * @module
 */
import type { RowLogprobs } from "../../../src/engine/step_plan.ts";
import type { SchedulerRequest } from "../../../src/engine/scheduler/scheduler.ts";
import type { FinishReason, TokenLogprob } from "../../../src/engine/types.ts";
import { adjustPlainly, argmax } from "./_adjustments.ts";

/** Entries of the fake vocabulary. */
export const VOCAB_SIZE = 24;

/** End token of the fake vocabulary. */
export const EOS = 0;

/** Hash of a context, one token longer. */
export function extendHash(hash: number, token: number): number {
  let mixed = Math.imul(hash ^ (token + 0x9e3779b9), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** What a draw depends on beside its context. */
export interface FakeDraw {
  readonly seedLow: number;
  readonly seedHigh: number;
  readonly position: number;
}

/** Logits after a context, for draws from adjusted ones. */
export function fakeLogits(context: number, draw: FakeDraw): Float32Array {
  const keyed = extendHash(extendHash(context, draw.seedLow | 0), draw.seedHigh | 0);
  const row = extendHash(keyed, draw.position);
  return Float32Array.from({ length: VOCAB_SIZE }, (_, id) => extendHash(row, id) % 64 / 8 - 4);
}

/** The token that follows a context, drawn with a seed at a position. */
export function drawToken(context: number, draw: FakeDraw): number {
  const keyed = extendHash(extendHash(context, draw.seedLow | 0), draw.seedHigh | 0);
  return extendHash(keyed, draw.position) % VOCAB_SIZE;
}

/** Log-probabilities after a context, of `token` and of the `width` best. */
export function fakeRow(context: number, token: number, width: number): RowLogprobs {
  const count = width === -1 ? VOCAB_SIZE : width;
  return {
    logprob: -(extendHash(context, token) % 64) / 8,
    topIds: Int32Array.from({ length: count }, (_, i) => extendHash(context, i) % VOCAB_SIZE),
    topLogprobs: Float32Array.from({ length: count }, (_, i) => -i / 4),
  };
}

/** Everything that a request gives. */
export interface FakeOutput {
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprob[];
  readonly promptLogprobs: (TokenLogprob | null)[] | null;
  readonly finishReason: FinishReason | null;
  readonly stopReason: string | number | null;
}

/** What a request gives when nothing else runs, without any scheduler. */
export function generateAlone(request: SchedulerRequest): FakeOutput {
  const { sampling, eosTokenIds } = request;
  const seedLow = Number(sampling.seed & 0xffffffffn);
  const seedHigh = Number(sampling.seed >> 32n);
  const prompt = Array.from(request.promptTokenIds);
  const promptRows: (TokenLogprob | null)[] = [null];
  let context = 0;
  prompt.forEach((token, i) => {
    context = extendHash(context, token);
    if (i + 1 < prompt.length) {
      promptRows.push(entry(prompt[i + 1], context, sampling.promptLogprobs ?? 0));
    }
  });
  const promptLogprobs = sampling.promptLogprobs === null ? null : promptRows;
  const tokenIds: number[] = [];
  const logprobs: TokenLogprob[] = [];
  while (tokenIds.length < sampling.maxTokens) {
    const position = prompt.length + tokenIds.length;
    const draw = { seedLow, seedHigh, position };
    const token = isAdjusted(request)
      ? argmax(adjustPlainly(fakeLogits(context, draw), request, tokenIds))
      : drawToken(context, draw);
    tokenIds.push(token);
    if (sampling.logprobs !== null) logprobs.push(entry(token, context, sampling.logprobs));
    const ends = !sampling.ignoreEos && eosTokenIds.includes(token);
    if (ends || sampling.stopTokenIds.includes(token)) {
      const stopReason = ends ? null : token;
      return { tokenIds, logprobs, promptLogprobs, finishReason: "stop", stopReason };
    }
    context = extendHash(context, token);
  }
  return { tokenIds, logprobs, promptLogprobs, finishReason: "length", stopReason: null };
}

/** Whether a request's logits are changed. */
export function isAdjusted({ sampling, badWords = [] }: SchedulerRequest): boolean {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
  return presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1 ||
    sampling.minTokens > 0 || sampling.allowedTokenIds !== null || badWords.length > 0 ||
    Object.keys(sampling.logitBias).length > 0;
}

function entry(tokenId: number, context: number, width: number): TokenLogprob {
  const row = fakeRow(context, tokenId, width);
  const top = Array.from(row.topIds, (id, i) => [id, row.topLogprobs[i]] as const);
  return { tokenId, logprob: row.logprob, top };
}
