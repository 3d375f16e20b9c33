/**
 * Penalties, biases and bans in plain code, from the tokens of a request alone.
 * @module
 */
import type { RowAdjustments } from "../../../src/engine/sampler/sample_row.ts";
import type { AdjustedRequest } from "../../../src/engine/scheduler/sequence_adjustments.ts";

const { fround } = Math;

function adjustedLogit(
  x: number,
  { before, scale, after }: { readonly before: number; readonly scale: number; after: number },
): number {
  const sum = fround(x + fround(before));
  const scaled = fround(sum > 0 ? sum / fround(scale) : sum * fround(scale));
  return fround(scaled + fround(after));
}

/** The logits from which the token after `output` is drawn. */
export function adjustPlainly(
  logits: ArrayLike<number>,
  request: AdjustedRequest,
  output: readonly number[],
): number[] {
  const { sampling, eosTokenIds, badWords = [] } = request;
  const seen = new Set([...Array.from(request.promptTokenIds), ...output]);
  const isForbidden = (id: number) =>
    sampling.allowedTokenIds?.includes(id) === false ||
    (output.length < sampling.minTokens &&
      [...eosTokenIds, ...sampling.stopTokenIds].includes(id)) ||
    badWords.some((word) => [...output, id].slice(-word.length).join() === word.join());
  return Array.from(logits, (x, id) => {
    if (isForbidden(id)) return -Infinity;
    const count = output.filter((token) => token === id).length;
    const { frequencyPenalty, presencePenalty, repetitionPenalty } = sampling;
    return adjustedLogit(x, {
      before: sampling.logitBias[id] ?? 0,
      scale: seen.has(id) ? repetitionPenalty : 1,
      after: count > 0 ? -(frequencyPenalty * count + presencePenalty) : 0,
    });
  });
}

/** The logits from which ranks draw that were given a table. */
export function adjustByTable(logits: ArrayLike<number>, table: RowAdjustments): number[] {
  const { count, entries, mask } = table;
  const adjusted = Array.from(
    logits,
    (x, id) => mask !== null && (mask[id >> 5] >>> (id & 31) & 1) === 0 ? -Infinity : x,
  );
  const floats = new Float32Array(entries.buffer, entries.byteOffset, entries.length);
  for (let i = 0; i < 4 * count; i += 4) {
    const [before, scale, after] = floats.subarray(i + 1, i + 4);
    adjusted[entries[i]] = adjustedLogit(adjusted[entries[i]], { before, scale, after });
  }
  return adjusted;
}

/** The largest, of equals the first. */
export function argmax(logits: readonly number[]): number {
  return logits.reduce((best, x, id) => x > logits[best] ? id : best, 0);
}
