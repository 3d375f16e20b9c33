/**
 * Times prefill and decode of a replica.
 * @module
 */
import type { GenerationChunk, Replica } from "../engine/types.ts";

/** One timed piece of work. */
export interface TimedTokens {
  /** Tokens that were computed. */
  readonly tokens: number;
  /** Seconds that it took. */
  readonly seconds: number;
}

type Clock = () => number;

/**
 * Computes `prompts` together up to the first token of each: tokens are those of the prompts. The
 * clock counts milliseconds.
 */
export async function timePrefill(
  replica: Replica,
  prompts: readonly (readonly number[])[],
  clock: Clock = () => performance.now(),
): Promise<TimedTokens> {
  const start = clock();
  await Promise.all(prompts.map(async (promptTokenIds) => {
    for await (const _ of run(replica, promptTokenIds, { maxTokens: 1 }));
  }));
  const tokens = prompts.reduce((sum, prompt) => sum + prompt.length, 0);
  return { tokens, seconds: (clock() - start) / 1000 };
}

/** Options of {@linkcode timeDecode}. */
export interface DecodeOptions {
  /** Tokens to time for each prompt. */
  readonly decodeTokens: number;
  /** Positions that a request may take. */
  readonly maxModelLen: number;
  /** Counts milliseconds; a monotonic clock when left out. */
  readonly clock?: Clock;
}

/**
 * Generates from `prompts` together and times only while all of them decode: from the moment when
 * the last one has its first token until `decodeTokens` more tokens a prompt have come, or one of
 * them ends. What still runs then is cancelled.
 */
export async function timeDecode(
  replica: Replica,
  prompts: readonly (readonly number[])[],
  options: DecodeOptions,
): Promise<TimedTokens> {
  const { decodeTokens, maxModelLen, clock = () => performance.now() } = options;
  const wanted = prompts.length * decodeTokens;
  const cancel = new AbortController();
  let waiting = prompts.length;
  let start = 0;
  let tokens = 0;
  let end: number | null = null;
  await Promise.all(prompts.map(async (promptTokenIds) => {
    const maxTokens = maxModelLen - promptTokenIds.length;
    let started = false;
    for await (const chunk of run(replica, promptTokenIds, { maxTokens, signal: cancel.signal })) {
      if (end !== null || chunk.tokenIds.length === 0) continue;
      if (waiting === 0) tokens += chunk.tokenIds.length;
      if (!started) {
        started = true;
        if (--waiting === 0) start = clock();
      }
      if (tokens >= wanted || chunk.finishReason !== null) {
        end = clock();
        cancel.abort();
      }
    }
  }));
  if (end === null || tokens === 0) {
    throw new Error(
      `Cannot time decoding as a sequence ended before the last of ${prompts.length} had started: ` +
        `raise --max-model-len or lower --batch`,
    );
  }
  return { tokens, seconds: (end - start) / 1000 };
}

function run(
  replica: Replica,
  promptTokenIds: readonly number[],
  options: { readonly maxTokens: number; readonly signal?: AbortSignal },
): AsyncIterable<GenerationChunk> {
  const { maxTokens, signal } = options;
  return replica.generate({
    promptTokenIds,
    sampling: { temperature: 0, ignoreEos: true, maxTokens },
    cachePrompt: false,
    signal,
  });
}

/** `count` prompts of random tokens, the same for the same seed. */
export function randomPrompts(
  options: {
    readonly count: number;
    readonly length: number;
    readonly vocabSize: number;
    readonly seed: number;
  },
): number[][] {
  let state = options.seed >>> 0;
  const next = () => {
    // Numerical Recipes' 32-bit linear congruential generator; its high bits are the random ones.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * options.vocabSize);
  };
  return Array.from({ length: options.count }, () => Array.from({ length: options.length }, next));
}

/** Middle of the values; the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
