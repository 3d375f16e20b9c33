/**
 * Log-probabilities from what the ranks have gathered, on the host.
 * @module
 */
import type { VocabShard } from "../../layers/vocab_parallel.ts";
import { needsWhole } from "./sample_row.ts";
import type { RowLogprobs } from "../step_plan.ts";

/** Each rank's tops: `perPart` of each row, `[parts, 2, rows, perPart]`, logits before ids. */
interface Tops {
  readonly parts: number;
  readonly rows: number;
  readonly perPart: number;
  /** The memory as f32. */
  readonly logits: Float32Array;
  /** The same memory as i32. */
  readonly ids: Int32Array;
}

/** Each rank's logits, `[parts, rows, vocab.paddedCount]`. */
interface WholeLogits {
  readonly logits: Float32Array;
  readonly parts: number;
  readonly rows: number;
  readonly vocab: VocabShard;
}

/** What the ranks have gathered for the rows of a step. */
export interface Candidates {
  /** Maximum and sum of exponentials of each row. */
  readonly stats: Float32Array;
  /** Logit of each row's token. */
  readonly targetLogits: Float32Array;
  /** Tops that the ranks found. */
  readonly tops: Tops;
  /** All logits, where some row asks for more tops than that. */
  readonly whole: WholeLogits | null;
}

interface Ranking {
  readonly ids: Int32Array;
  readonly logits: Float32Array;
}

/** What one row asked for: `count` tops, -1 for the whole vocabulary. */
export function rankedLogprobs(
  { stats, targetLogits, tops, whole }: Candidates,
  row: number,
  count: number,
): RowLogprobs {
  const logSum = stats[2 * row] + Math.log(stats[2 * row + 1]);
  const ranking = whole !== null && needsWhole(count)
    ? rankWhole(whole, row, count)
    : rankTops(tops, row, count);
  return {
    logprob: Math.fround(targetLogits[row] - logSum),
    topIds: ranking.ids,
    topLogprobs: ranking.logits.map((logit) => logit - logSum),
  };
}

/** Merges the ranks' tops: descending, ties to the lower id, without those that can't be drawn. */
function rankTops(
  { parts, rows, perPart, logits, ids }: Tops,
  row: number,
  count: number,
): Ranking {
  const pairs: [number, number][] = [];
  for (let part = 0; part < parts; part++) {
    const first = (2 * part * rows + row) * perPart;
    for (let i = first; i < first + perPart; i++) {
      if (logits[i] > -Infinity) pairs.push([ids[i + rows * perPart], logits[i]]);
    }
  }
  pairs.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  pairs.length = Math.min(pairs.length, count);
  return {
    ids: Int32Array.from(pairs, (pair) => pair[0]),
    logits: Float32Array.from(pairs, (pair) => pair[1]),
  };
}

function rankWhole(
  { logits, parts, rows, vocab }: WholeLogits,
  row: number,
  count: number,
): Ranking {
  const { paddedCount, vocabSize } = vocab;
  const whole = new Float32Array(parts * paddedCount);
  for (let part = 0; part < parts; part++) {
    const first = (part * rows + row) * paddedCount;
    whole.set(logits.subarray(first, first + paddedCount), part * paddedCount);
  }
  // NaN counts as -Infinity, and two of these are as equal as two numbers are.
  const order = (a: number, b: number) =>
    whole[b] > whole[a] ? 1 : whole[b] < whole[a] ? -1 : a - b;
  const number = (x: number) => x === x ? x : -Infinity;
  for (let id = 0; id < whole.length; id++) whole[id] = number(whole[id]);
  const ids = Int32Array.from({ length: vocabSize }, (_, id) => id).sort(order);
  const kept = count < 0 ? ids : ids.filter((id) => whole[id] > -Infinity).slice(0, count);
  return { ids: kept, logits: Float32Array.from(kept, (id) => whole[id]) };
}
