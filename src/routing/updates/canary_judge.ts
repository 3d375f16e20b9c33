/**
 * Whether new weights do as well as the old ones.
 * @module
 */
import type { RoutedOutcome } from "../balancing_policy.ts";
import type { Side } from "../traffic_split.ts";

/** What canaries are held to. */
export interface CanaryLimits {
  /** Time to watch them at least, in milliseconds. */
  readonly durationMs: number;
  /** Requests that they must have ended. */
  readonly minRequests: number;
  /** Time after which they are given up when there were fewer, in milliseconds. */
  readonly timeoutMs: number;
  /** Share of their requests that they may fail beyond what the others fail. */
  readonly maxErrorRate: number;
  /**
   * How many times as long as with the others a median answer may take: first bytes of streams, other answers whole.
   */
  readonly maxLatencyRatio: number;
}

/** `wait`: too early to tell. */
export type CanaryVerdict = "wait" | "promote" | { readonly reject: string };

/** Times that are kept of each kind, the latest. */
const MAX_TIMES = 4096;

/** Times below which a median says nothing. */
const MIN_TIMES = 10;

/** How one side has answered. */
class SideRecord {
  requests = 0;
  failed = 0;
  readonly streams = new LatestTimes();
  readonly wholes = new LatestTimes();

  add({ stream, firstByteMs, totalMs, failed }: RoutedOutcome): void {
    this.requests++;
    if (failed) this.failed++;
    else if (!stream) this.wholes.add(totalMs);
    else if (firstByteMs !== null) this.streams.add(firstByteMs);
  }

  get errorRate(): number {
    return this.requests === 0 ? 0 : this.failed / this.requests;
  }
}

class LatestTimes {
  readonly #times: number[] = [];
  #count = 0;

  add(milliseconds: number): void {
    this.#times[this.#count++ % MAX_TIMES] = milliseconds;
  }

  /** In milliseconds; null when there are too few times for one. */
  get median(): number | null {
    const { length } = this.#times;
    return length < MIN_TIMES ? null : this.#times.toSorted((a, b) => a - b)[length >> 1];
  }
}

/** Compares how replicas with new weights answer with how the others do. */
export class CanaryJudge {
  readonly #limits: CanaryLimits;
  readonly #sides = { fresh: new SideRecord(), stable: new SideRecord() };

  /** Has seen nothing yet. */
  constructor(limits: CanaryLimits) {
    this.#limits = limits;
  }

  /** What the canaries have done so far. */
  get summary(): string {
    const { requests, failed } = this.#sides.fresh;
    return `${failed} of ${requests} requests failed`;
  }

  /** A request has ended. */
  add(side: Side, outcome: RoutedOutcome): void {
    this.#sides[side].add(outcome);
  }

  /** What is to be done after so many milliseconds. */
  verdict(elapsedMs: number): CanaryVerdict {
    const { durationMs, minRequests, timeoutMs, maxErrorRate } = this.#limits;
    const { fresh, stable } = this.#sides;
    const allowed = (stable.errorRate + maxErrorRate) * Math.max(fresh.requests, minRequests);
    if (fresh.failed > allowed) return { reject: this.summary };
    if (elapsedMs < durationMs || fresh.requests < minRequests) {
      if (elapsedMs < timeoutMs) return "wait";
      return { reject: `there were too few requests: ${fresh.requests} of ${minRequests}` };
    }
    return this.#slower("streams") ?? this.#slower("wholes") ?? "promote";
  }

  #slower(kind: "streams" | "wholes"): CanaryVerdict | null {
    const fresh = this.#sides.fresh[kind].median;
    const stable = this.#sides.stable[kind].median;
    if (fresh === null || stable === null) return null;
    if (fresh <= this.#limits.maxLatencyRatio * stable) return null;
    return {
      reject: `a median answer takes ${fresh.toFixed(1)} ms instead of ${stable.toFixed(1)}`,
    };
  }
}
