/**
 * How long a replica lately took to begin its answers.
 * @module
 */

/** Times that are kept: enough for a 99th percentile of sorts, and 3 KiB. */
const KEPT = 128;

/** What {@linkcode RecentTimes} says of the times that it still counts. */
export interface TimeSummary {
  /** How many there are. */
  readonly count: number;
  /** Their median in milliseconds; NaN without times, as the other figures are. */
  readonly median: number;
  /** Their 99th percentile in milliseconds. */
  readonly p99: number;
  /** Mean of the tokens that were to be done before each answer began, its own among them. */
  readonly tokens: number;
}

/** The latest 128 times to a first byte, without those that are older than `windowMs`. */
export class RecentTimes {
  readonly #windowMs: number;
  readonly #milliseconds = new Float64Array(KEPT);
  readonly #tokens = new Float64Array(KEPT);
  readonly #at = new Float64Array(KEPT).fill(-Infinity);
  #next = 0;

  /** Counts a time for `windowMs` milliseconds. */
  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** An answer began at `at` after `milliseconds`, when `tokens` had been to be done before it. */
  add(
    milliseconds: number,
    { tokens, at }: { readonly tokens: number; readonly at: number },
  ): void {
    this.#milliseconds[this.#next] = milliseconds;
    this.#tokens[this.#next] = tokens;
    this.#at[this.#next] = at;
    this.#next = (this.#next + 1) % KEPT;
  }

  /** The times as they are at `now`. */
  summary(now: number): TimeSummary {
    const counts = (_: number, i: number): boolean => now - this.#at[i] <= this.#windowMs;
    const times = this.#milliseconds.filter(counts).sort();
    const count = times.length;
    const tokens = this.#tokens.filter(counts).reduce((sum, value) => sum + value, 0) / count;
    return { count, median: rank(times, 0.5), p99: rank(times, 0.99), tokens };
  }
}

/** The value below which `share` of the sorted values lie (nearest rank); NaN without values. */
export function rank(sorted: ArrayLike<number>, share: number): number {
  return sorted.length === 0
    ? NaN
    : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
