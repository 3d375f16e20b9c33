/**
 * The kernels that choose among logits.
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** What the sampler asks of each row of logits; all arrays are host memory, `rows` long. */
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

/** Candidates, probabilities and draws, on this rank's shard of the vocabulary. */
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
   * One round of the radix search for a top-k or top-p threshold. For each row, adds up over the
   * logits that are >= `thresholds[row]` and whose ordered key agrees with `prefixes[row]` in its top
   * `8 * round` bits: a count (mode 1) or an integer mass floor(exp((x - maximum) / temperature) * 2^30)
   * (mode 2) into `histogram` f64 `[rows, 256]`, by the next 8 bits. Integers, so exact in any order. The
   * ordered key of a float is its bits with the sign flipped (or all flipped when negative). Mode 0 fills
   * zeros. NaN counts as -Infinity, -0 as 0.
   */
  logitHistogram(
    histogram: Tensor,
    logits: Tensor,
    rows: number,
    options: {
      size: number;
      round: number;
      modes: Tensor;
      prefixes: Tensor;
      thresholds: Tensor;
      maxima: Tensor;
      temperatures: Tensor;
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

  /** `slotTokens[slots[i]] = tokens[i]`, all i32: drawn tokens wait on the device for their next step. */
  scatterTokens(slotTokens: Tensor, tokens: Tensor, slots: Tensor, rows: number): void;

  /** `ids[t] = slotTokens[sources[t]]` where `sources[t]` is not negative; other ids stay. */
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
