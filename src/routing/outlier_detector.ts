/**
 * Which replicas begin their answers far later than others.
 * @module
 */
import { rank, RecentTimes, type TimeSummary } from "./recent_times.ts";

/** Options of {@linkcode OutlierDetector}. */
export interface OutlierOptions {
  /** Times that a replica must have lately for it to be judged, or to judge others by. Default 8. */
  readonly minRequests?: number;
  /** Replicas with that many times, itself among them, for one to be an outlier. Default 3. */
  readonly minReplicas?: number;
  /** How many times the median of the others its own must exceed. Above 1; default 5. */
  readonly factor?: number;
  /** By how many milliseconds it must exceed that median, too. Default 250. */
  readonly marginMs?: number;
  /** How many times the others' 99th percentile a replica may be silent with requests waiting. Default 5. */
  readonly silenceFactor?: number;
  /** The shortest silence in milliseconds that says anything. Default 2000. */
  readonly silenceFloorMs?: number;
  /** Time in milliseconds for which a measurement counts. Default 120000. */
  readonly windowMs?: number;
}

/** A replica that begins its answers far later than others. */
export interface Outlier {
  /** Names it. */
  readonly id: string;
  /** Median of its times in milliseconds. */
  readonly medianMs: number;
  /** Median of the other replicas' medians in milliseconds. */
  readonly othersMs: number;
}

/**
 * Compares how soon replicas begin streamed answers, after Envoy's outlier detection: the median of a replica's
 * latest times against the median of the others' medians, which one bad replica does not move. It remembers
 * at most 128 times for each replica, and decides nothing.
 */
export class OutlierDetector {
  readonly #minRequests: number;
  readonly #minReplicas: number;
  readonly #factor: number;
  readonly #marginMs: number;
  readonly #silenceFactor: number;
  readonly #silenceFloorMs: number;
  readonly #windowMs: number;
  readonly #times = new Map<string, RecentTimes>();

  /** Throws RangeError when an option would make an outlier of a replica that is like the others. */
  constructor(options: OutlierOptions = {}) {
    this.#minRequests = options.minRequests ?? 8;
    this.#minReplicas = options.minReplicas ?? 3;
    this.#factor = options.factor ?? 5;
    this.#marginMs = options.marginMs ?? 250;
    this.#silenceFactor = options.silenceFactor ?? 5;
    this.#silenceFloorMs = options.silenceFloorMs ?? 2000;
    this.#windowMs = options.windowMs ?? 120_000;
    for (
      const [name, value, least] of [
        ["minRequests", this.#minRequests, 1],
        ["minReplicas", this.#minReplicas, 2],
        ["factor", this.#factor, 1],
        ["marginMs", this.#marginMs, 0],
        ["silenceFactor", this.#silenceFactor, 1],
        ["silenceFloorMs", this.#silenceFloorMs, 0],
        ["windowMs", this.#windowMs, 0],
      ] as const
    ) {
      if (!(value >= least)) {
        throw new RangeError(
          `Cannot look for outliers as ${name} must be at least ${least}: ${value}`,
        );
      }
    }
  }

  /** A replica began an answer at `at` after `milliseconds`, when `tokens` had been to be done before it. */
  note(
    id: string,
    { milliseconds, tokens, at }: {
      readonly milliseconds: number;
      readonly tokens: number;
      readonly at: number;
    },
  ): void {
    let times = this.#times.get(id);
    if (times === undefined) this.#times.set(id, times = new RecentTimes(this.#windowMs));
    times.add(milliseconds, { tokens, at });
  }

  /** Forgets a replica's times: it has left, or shall be judged anew. */
  forget(id: string): void {
    this.#times.delete(id);
  }

  /** The outliers among the replicas `ids` at `now`, the slowest first. */
  outliers(ids: readonly string[], now: number): Outlier[] {
    const judged = this.#known(ids, now);
    if (judged.length < this.#minReplicas) return [];
    const found: Outlier[] = [];
    for (const [id, { median: medianMs }] of judged) {
      const othersMs = medianOf(judged, id, ({ median }) => median);
      const limit = Math.max(othersMs * this.#factor, othersMs + this.#marginMs);
      if (medianMs > limit) found.push({ id, medianMs, othersMs });
    }
    return found.sort((a, b) => b.medianMs - a.medianMs);
  }

  /**
   * Milliseconds of silence from which on a replica, one of `ids`, with `tokens` waiting is taken for stuck: so
   * many times what the others' slowest answers take, and longer in proportion where more waits than usually.
   * Infinity while nothing is known of others.
   */
  silenceMs(id: string, { ids, tokens, now }: {
    readonly ids: readonly string[];
    readonly tokens: number;
    readonly now: number;
  }): number {
    const others = this.#known(ids.filter((other) => other !== id), now);
    if (others.length === 0) return Infinity;
    const usual = medianOf(others, null, ({ tokens }) => tokens);
    const p99 = medianOf(others, null, ({ p99 }) => p99);
    return Math.max(this.#silenceFloorMs, p99 * this.#silenceFactor) *
      Math.max(1, tokens / Math.max(1, usual));
  }

  #known(ids: readonly string[], now: number): [string, TimeSummary][] {
    const known: [string, TimeSummary][] = [];
    for (const id of ids) {
      const summary = this.#times.get(id)?.summary(now);
      if (summary !== undefined && summary.count >= this.#minRequests) known.push([id, summary]);
    }
    return known;
  }
}

function medianOf(
  summaries: readonly [string, TimeSummary][],
  without: string | null,
  figure: (summary: TimeSummary) => number,
): number {
  const figures = summaries.filter(([id]) => id !== without).map(([, summary]) => figure(summary));
  return rank(figures.sort((a, b) => a - b), 0.5);
}
