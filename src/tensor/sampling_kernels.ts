/**
 * The kernels that choose among logits.
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** What the sampler asks of each row of logits. */
export interface GumbelOptions {
  /** f32: temperature; 0 means greedy. */
  readonly temperatures: Tensor;
  /** u32 pairs as i32 [rows, 2]: low and high half of the seed. */
  readonly seeds: Tensor;
  /** i32 [rows]: choice index of the request. */
  readonly choices: Tensor;
  /** i32 [rows]: absolute position of the token that is drawn. */
  readonly positions: Tensor;
  /** f32 [rows]: only logits >= threshold take part; -Infinity lets all in. */
  readonly thresholds: Tensor;
}

/** A round of the search for the logit at which top-k or top-p cuts. */
export interface ThresholdRound {
  /** From 0 to 3: each settles 8 bits of the threshold's ordered key, the highest first. */
  readonly round: number;
  /** What is added up: the number of tokens (top-k) or their probability mass (top-p). */
  readonly kind: "count" | "mass";
  /** f64 `[rows]`: tokens to keep, or the share of the mass; 0 passes the row over. */
  readonly shares: Tensor;
  /** i32 `[rows]`, kept between rounds: the bits that were found. */
  readonly prefixes: Tensor;
}

/** Integers of an entry of {@linkcode LogitEntries}: a token, and the bits of three floats. */
export const LOGIT_ENTRY_WORDS = 4;

/** Changes to the logits of single tokens, row by row. */
export interface LogitEntries {
  /** Columns of the logits. */
  readonly size: number;
  /** Token of the first column. */
  readonly firstId: number;
  /** i32 `[rows + 1]`: first entry of each row, then the number of entries. */
  readonly starts: Tensor;
  /**
   * i32 `[entries, 4]`: the token, then the bits of three f32: what is added before scaling, the scale
   * (above 0), and what is added after. No token twice in a row.
   */
  readonly entries: Tensor;
  /** f32 `[entries]`: the logits as they were. */
  readonly saved: Tensor;
}

/**
 * Candidates, probabilities and draws, on this rank's shard of the vocabulary. A NaN logit counts as
 * -Infinity everywhere: a draw is always a valid id.
 */
export interface SamplingKernels {
  /** The `k` largest of each row and their column + `firstId`, descending, ties to the lower id. */
  topK(
    values: Tensor,
    ids: Tensor,
    x: Tensor,
    rows: number,
    options: { size: number; k: number; firstId: number },
  ): void;

  /**
   * Changes logits in place: `x` becomes `x + before`, divided by the scale where that is above 0 and
   * multiplied elsewhere, `+ after`, each rounded to f32. Keeps the `x` of each entry in `saved`. Tokens
   * outside this shard, and entries that `saved` has no place for, are passed over.
   */
  adjustLogits(logits: Tensor, rows: number, options: LogitEntries): void;

  /** Puts back the logits that {@linkcode adjustLogits} has saved, given the same options. */
  restoreLogits(logits: Tensor, rows: number, options: LogitEntries): void;

  /**
   * Makes -Infinity of the logits of row `t` whose token `id` has no bit in its mask: bit `id % 32` of
   * `masks[maskRows[t]][id / 32]`. A row whose number is that of no mask stays as it is.
   */
  maskLogits(
    logits: Tensor,
    rows: number,
    options: {
      readonly size: number;
      readonly firstId: number;
      /** i32 `[number of masks, words]`. */
      readonly masks: Tensor;
      /** i32 `[rows]`: the row's mask, or -1. */
      readonly maskRows: Tensor;
    },
  ): void;

  /**
   * Maximum and sum of exp(x - maximum) of each row, `stats` f32 `[rows, 2]`: over fixed blocks of
   * `blockSize` columns, merged by one binary tree (NUMERICS.md 6).
   */
  logSumExp(
    stats: Tensor,
    logits: Tensor,
    rows: number,
    options: { size: number; blockSize: number },
  ): void;

  /** Continues the tree across ranks: `gathered` f32 `[parts, rows, 2]` into `stats` `[rows, 2]`. */
  mergeLogSumExp(stats: Tensor, gathered: Tensor, rows: number, parts: number): void;

  /**
   * Where min-p cuts: `thresholds[row] = stats[row][0] + offsets[row]`, rounded once to f32, with
   * `offsets` f64 `[rows]` the temperature times ln(min-p); -Infinity where the offset is.
   */
  minPThresholds(thresholds: Tensor, stats: Tensor, offsets: Tensor, rows: number): void;

  /**
   * First half of a round of the radix search for a top-k or top-p threshold. For each row whose share
   * is not 0, adds up over the logits that are >= `thresholds[row]` and whose ordered key agrees with
   * `prefixes[row]` in its top `8 * round` bits: their number, or the integer masses
   * floor(exp((x - maximum) / temperature) * 2^30), into `histogram` f64 `[rows, 256]`, by the next 8
   * bits. Integers, so exact in any order, and ranks add theirs. The ordered key of a float is its bits
   * with the sign flipped (or all flipped when negative). Other rows get zeros. NaN counts as
   * -Infinity, -0 as 0.
   */
  logitHistogram(
    histogram: Tensor,
    logits: Tensor,
    rows: number,
    options: ThresholdRound & {
      /** Columns of the logits. */
      readonly size: number;
      /** f32 `[rows]`: only logits >= threshold take part. */
      readonly thresholds: Tensor;
      /** f32 `[rows, 2]`: the maximum of the whole row, and another number. */
      readonly stats: Tensor;
      /** f32 `[rows]`: temperatures, above 0 where the share is not 0. */
      readonly temperatures: Tensor;
    },
  ): void;

  /**
   * Second half: reads the `histogram` of the whole vocabulary and puts the bin in which the share is
   * reached, counted from the top, into the prefix. The first round also begins the row anew: its
   * target is the share, at most what there is (`count`), or the share of the sum of masses (`mass`).
   * The last one raises `thresholds[row]` to the float that was found; rows with share 0 are left alone.
   */
  narrowThresholds(
    thresholds: Tensor,
    histogram: Tensor,
    rows: number,
    options: ThresholdRound & {
      /** f64 `[rows]`, kept between rounds: the count or mass to be reached. */
      readonly targets: Tensor;
      /** f64 `[rows]`, kept between rounds: count or mass above the bins that were opened. */
      readonly above: Tensor;
    },
  ): void;

  /**
   * Gumbel-max draw (NUMERICS.md 9): per row the best of `x / temperature + g(seed, choice, position, id)`,
   * or of `x` when the temperature is 0; `values` f32, `ids` i32 `[rows]`, ties to the lower id. g is
   * -ln(-ln u), u from word `id % 4` of the Philox4x32-10 block with the seed as key and counter
   * `(id / 4, position, choice, 0)`. NaN counts as -Infinity; where nothing takes part: -Infinity, firstId.
   */
  gumbelArgmax(
    values: Tensor,
    ids: Tensor,
    logits: Tensor,
    rows: number,
    options: GumbelOptions & { size: number; firstId: number },
  ): void;

  /**
   * The best of the draws of `parts` shards: `draws` i32 `[parts, 2, rows]` holds of each shard, in the
   * order of their ids, the bits of the f32 values and the ids that {@linkcode gumbelArgmax} gave.
   * `tokens` i32 `[rows]`, ties to the lower id.
   */
  mergeDraws(tokens: Tensor, draws: Tensor, rows: number, parts: number): void;

  /**
   * `slotTokens[slots[i]] = tokens[i]`, all i32: drawn tokens wait on the device for their next step.
   * Negative slots take nothing. A slot that `slotTokens` does not have is a RangeError, or skipped by
   * a device that runs behind its caller.
   */
  scatterTokens(slotTokens: Tensor, tokens: Tensor, slots: Tensor, rows: number): void;

  /**
   * `ids[t] = slotTokens[sources[t]]` where `sources[t]` is not negative; other ids stay. A source that
   * `slotTokens` does not have is treated as in {@linkcode scatterTokens}.
   */
  gatherTokens(ids: Tensor, slotTokens: Tensor, sources: Tensor, rows: number): void;

  /** `values[i] = logits[i, ids[i] - firstId]`, or -Infinity where the id lies outside this shard. */
  gatherLogits(
    values: Tensor,
    logits: Tensor,
    ids: Tensor,
    rows: number,
    options: { size: number; firstId: number },
  ): void;
}
