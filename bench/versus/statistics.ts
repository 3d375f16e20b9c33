/** Medians and ratios of samples. */
import { median } from "../../src/cli/throughput.ts";

/** Samples of one figure. */
export interface Summary {
  /** Middle. */
  readonly median: number;
  /** Smallest. */
  readonly min: number;
  /** Largest. */
  readonly max: number;
  /** All, in the order in which they were taken. */
  readonly samples: readonly number[];
}

/** Sums samples up; throws RangeError when there are none or one is no finite number. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0 || !samples.every(Number.isFinite)) {
    throw new RangeError(`Cannot sum up samples as they must be finite numbers: [${samples}]`);
  }
  return {
    median: median(samples),
    min: Math.min(...samples),
    max: Math.max(...samples),
    samples: [...samples],
  };
}

/**
 * Ratios of samples that were taken side by side: what disturbs the machine disturbs both of a pair,
 * so their median is steadier than the ratio of medians. Throws RangeError for lists of two lengths.
 */
export function pairedRatios(subject: readonly number[], baseline: readonly number[]): Summary {
  if (subject.length !== baseline.length) {
    throw new RangeError(
      `Cannot pair samples as their numbers differ: ${subject.length} and ${baseline.length}`,
    );
  }
  return summarize(subject.map((value, i) => value / baseline[i]));
}
