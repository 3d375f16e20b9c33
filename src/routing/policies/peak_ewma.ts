/**
 * Response-time-aware balancing.
 * @module
 */
import type {
  BalancingPolicy,
  ReplicaLoad,
  RoutedOutcome,
  RoutedRequest,
} from "../balancing_policy.ts";

/**
 * What one slow answer multiplies the average by at most. Without a limit one long queue keeps a replica
 * idle long after: `bench/routing/simulate.ts` has a p99 of 4 s then, and of 0.2 s with it.
 */
const PEAK_GROWTH = 1.25;

/** Options of {@linkcode PeakEwmaPolicy}. */
export interface PeakEwmaOptions {
  /** Time in milliseconds after which a measurement counts for 1/e. Default 10000. */
  readonly decayMs?: number;
  /** The time in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

interface Average {
  readonly value: number;
  readonly at: number;
}

/**
 * The replica that is expected to answer first: its average time to a first byte times the requests it
 * would then have (after Finagle's peak EWMA). Slower answers raise the average at once, each by a quarter at
 * most, and faster ones bring it down over `decayMs`: a replica that turns slow soon loses its traffic. Answers
 * in one piece have an average of their own, of their whole time, as nobody sees when they begin.
 *
 * @example
 * ```ts
 * import { PeakEwmaPolicy } from "@weft/weft/server";
 * const policy = new PeakEwmaPolicy();
 * policy.ended("a", { stream: true, firstByteMs: 900, totalMs: 2000, failed: false });
 * policy.ended("b", { stream: true, firstByteMs: 30, totalMs: 1000, failed: false });
 * const loads = ["a", "b"].map((id) => ({ id, weight: 1, active: 1, tokens: 0 }));
 * console.log(policy.select(loads, { stream: true }).id); // b
 * ```
 */
export class PeakEwmaPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "response-time";
  readonly #decayMs: number;
  readonly #now: () => number;
  readonly #streams = new Map<string, Average>();
  readonly #wholes = new Map<string, Average>();

  /** Averages by the clock `now`. */
  constructor(options: PeakEwmaOptions = {}) {
    this.#decayMs = options.decayMs ?? 10_000;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The candidate with the lowest expected time. */
  select(
    candidates: readonly ReplicaLoad[],
    { stream }: Pick<RoutedRequest, "stream">,
  ): ReplicaLoad {
    const times = candidates.map(({ id }) => this.#average(id, stream));
    // Nobody knows a newcomer's time: it is taken for as fast as the fastest, so that it is tried.
    let fastest = Infinity;
    for (const time of times) fastest = Math.min(fastest, time ?? Infinity);
    const unknown = Number.isFinite(fastest) ? fastest : 1;
    let chosen = candidates[0];
    let lowest = Infinity;
    for (const [i, load] of candidates.entries()) {
      const cost = (times[i] ?? unknown) * (load.active + 1) / load.weight;
      if (cost < lowest) [chosen, lowest] = [load, cost];
    }
    return chosen;
  }

  /** Takes the time into the average of its kind; a failure counts as long as it took. */
  ended(id: string, { stream, firstByteMs, totalMs, failed }: RoutedOutcome): void {
    const time = stream && !failed ? firstByteMs : totalMs;
    if (time === null) return;
    const averages = this.#averages(stream);
    const at = this.#now();
    const before = averages.get(id);
    const share = before === undefined ? 0 : Math.exp((before.at - at) / this.#decayMs);
    const { value } = before ?? { value: time };
    const mean = value * share + time * (1 - share);
    averages.set(id, { value: Math.max(mean, Math.min(time, value * PEAK_GROWTH)), at });
  }

  /** Forgets the replica's times. */
  left(id: string): void {
    this.#streams.delete(id);
    this.#wholes.delete(id);
  }

  #averages(stream: boolean): Map<string, Average> {
    return stream ? this.#streams : this.#wholes;
  }

  /** Falls when nothing was measured for long, so that a replica that was slow once is tried again. */
  #average(id: string, stream: boolean): number | null {
    const average = this.#averages(stream).get(id);
    if (average === undefined) return null;
    const idleMs = Math.max(0, this.#now() - average.at - this.#decayMs);
    return average.value * Math.exp(-idleMs / this.#decayMs);
  }
}
