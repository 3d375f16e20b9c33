/**
 * Into how many parts decoding cuts the keys of a row.
 * @module
 */

/** Parts whose results one block can merge. */
const MAX_SPLITS = 64;

/** Share of a block's time that each further part of its row costs. */
const MERGE_COST = 1 / 64;

/**
 * The number of splits at which `pairs` (rows times KV heads) blocks of work end first, when each
 * multiprocessor works on one part at a time and a merge takes longer the more parts it has. It
 * depends on counts only, never on lengths, so that a recording serves any lengths.
 *
 * @example
 * ```ts
 * import { attentionSplits } from "./attention_splits.ts";
 * console.log(attentionSplits(8, 132)); // 16
 * ```
 */
export function attentionSplits(pairs: number, multiprocessors: number): number {
  let best = 1;
  let least = Infinity;
  for (let splits = 1; splits <= MAX_SPLITS; splits++) {
    const rounds = Math.ceil(pairs * splits / multiprocessors) / splits;
    const cost = rounds * (1 + MERGE_COST * splits);
    if (cost < least) {
      least = cost;
      best = splits;
    }
  }
  return best;
}
