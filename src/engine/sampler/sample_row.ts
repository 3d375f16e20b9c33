/**
 * What the parts of the sampler work on.
 * @module
 */
import type { Communicator } from "../../distributed/communicator.ts";
import type { VocabShard } from "../../layers/vocab_parallel.ts";
import type { Device } from "../../tensor/device.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { PlannedSampling } from "../step_plan.ts";

/** Changes to the logits of a row before it is drawn from. */
export interface RowAdjustments {
  /** Number of entries. */
  readonly count: number;
  /** i32 `[at least count, 4]`: tokens and how they change, as kernels take them (`LogitEntries`). */
  readonly entries: Int32Array;
  /** Bits of the tokens that may be drawn; null for all. */
  readonly mask: Int32Array | null;
}

/** What is asked of one row of logits. */
export interface SampleRow {
  /** How to draw a token; null to only look at `target`. */
  readonly sampling: PlannedSampling | null;
  /** What changes the logits for the draw, not for log-probabilities; null for nothing. */
  readonly adjustments: RowAdjustments | null;
  /** Absolute position of the token that is drawn. */
  readonly position: number;
  /** Token whose log-probability is wanted in place of a drawn one, or -1. */
  readonly target: number;
  /** Top tokens to report; -1 the whole vocabulary; null no log-probabilities. */
  readonly logprobs: number | null;
}

/** Where the sampler works. */
export interface SamplerOptions {
  /** Device that holds the logits. */
  readonly device: Device;
  /** Ranks that share the vocabulary. */
  readonly tensorParallel: Communicator;
  /** This rank's part of the vocabulary. */
  readonly vocab: VocabShard;
  /** `[maxRows, vocab.paddedCount]`. */
  readonly logits: Tensor;
  /** Entries of all {@linkcode RowAdjustments} of a step at most. */
  readonly maxAdjustments: number;
}

/** Most tops that are found on the device; more of them are ranked on the host. */
const MAX_TOPS = 20;

/** What has to be done for the rows of a step: work of equal `key` is the same calls on the same memory. */
export interface SamplingWork {
  /** Rows of logits, padding included. */
  readonly rows: number;
  /** Whether some row leaves tokens out, by whatever means. */
  readonly truncated: boolean;
  /** Whether some row keeps its top-k tokens only. */
  readonly topK: boolean;
  /** Whether some row keeps its top-p tokens only. */
  readonly topP: boolean;
  /** Whether some row has {@linkcode RowAdjustments}. */
  readonly adjusted: boolean;
  /** Whether some row has a mask. */
  readonly masked: boolean;
  /** Null when no row asks for log-probabilities. */
  readonly logprobs: {
    /** Tops that are found for every row on each rank: none, or {@linkcode topsAtOnce}. */
    readonly top: number;
    /** Whether all logits are gathered for the host: such work allocates, so it can't be recorded. */
    readonly whole: boolean;
  } | null;
  /** Names the work. */
  readonly key: string;
}

/** Whether a row that asks for `count` tops (-1: all) needs all logits on the host. */
export function needsWhole(count: number): boolean {
  return count < 0 || count > MAX_TOPS;
}

/** Tops that the device finds at once, whatever was asked for: few sizes make few recordings. */
export function topsAtOnce({ paddedCount }: VocabShard): number {
  return Math.min(MAX_TOPS, paddedCount);
}

const NEEDS = [
  "truncated",
  "top-k",
  "top-p",
  "logprobs",
  "tops",
  "whole",
  "adjusted",
  "masked",
] as const;
const [TRUNCATED, TOP_K, TOP_P, LOGPROBS, TOPS, WHOLE, ADJUSTED, MASKED] = NEEDS
  .map((_, index) => 1 << index);

/** Says what work rows ask for: the same object for equal work, as there are few kinds. */
export class SamplingWorks {
  readonly #options: Pick<SamplerOptions, "logits" | "vocab">;
  readonly #known = new Map<number, SamplingWork>();

  /** Work on the logits of a sampler. */
  constructor(options: Pick<SamplerOptions, "logits" | "vocab">) {
    this.#options = options;
  }

  /**
   * The work of `rows`, with rows up to `paddedRows` added that ask for nothing. Throws RangeError when the
   * logits have fewer.
   */
  of(rows: readonly SampleRow[], paddedRows: number): SamplingWork {
    const maxRows = this.#options.logits.shape[0];
    if (!Number.isInteger(paddedRows) || paddedRows < rows.length || paddedRows > maxRows) {
      throw new RangeError(
        `Cannot sample ${rows.length} rows padded to ${paddedRows}: limit is ${maxRows}`,
      );
    }
    const needs = needsOf(rows);
    const number = paddedRows * 2 ** NEEDS.length + needs;
    let work = this.#known.get(number);
    if (!work) this.#known.set(number, work = this.#describe(paddedRows, needs));
    return work;
  }

  #describe(rows: number, needs: number): SamplingWork {
    const top = (needs & TOPS) !== 0 ? topsAtOnce(this.#options.vocab) : 0;
    const names = NEEDS.filter((_, index) => (needs & 1 << index) !== 0);
    return {
      rows,
      truncated: (needs & TRUNCATED) !== 0,
      topK: (needs & TOP_K) !== 0,
      topP: (needs & TOP_P) !== 0,
      adjusted: (needs & ADJUSTED) !== 0,
      masked: (needs & MASKED) !== 0,
      logprobs: (needs & LOGPROBS) !== 0 ? { top, whole: (needs & WHOLE) !== 0 } : null,
      key: [`${rows} rows`, ...names].join(", "),
    };
  }
}

/** Bits of what some row needs. */
function needsOf(rows: readonly SampleRow[]): number {
  let needs = 0;
  for (let row = 0; row < rows.length; row++) {
    const { sampling, adjustments, logprobs } = rows[row];
    if (sampling && isTruncated(sampling)) {
      needs |= TRUNCATED | (sampling.topK > 0 ? TOP_K : 0) | (sampling.topP < 1 ? TOP_P : 0);
    }
    if (adjustments !== null) needs |= ADJUSTED | (adjustments.mask !== null ? MASKED : 0);
    if (logprobs === null) continue;
    needs |= LOGPROBS | (needsWhole(logprobs) ? WHOLE : logprobs > 0 ? TOPS : 0);
  }
  return needs;
}

/** Whether a draw leaves tokens out. Greedy draws (temperature 0 or top-k 1) need no threshold. */
export function isTruncated({ temperature, topK, topP, minP }: PlannedSampling): boolean {
  return temperature > 0 && topK !== 1 && (topK > 0 || topP < 1 || minP > 0);
}
