/**
 * A replica as its router sees it.
 * @module
 */
import type { ReplicaLoad } from "./balancing_policy.ts";
import { CircuitBreaker, type CircuitBreakerOptions } from "./circuit_breaker.ts";
import type { Lease, LeaseOutcome } from "./lease.ts";
import type { Occupancy } from "./occupancy.ts";

/** Options of a replica in a router. */
export interface MemberOptions {
  /** Its share of the work beside others. Above 0; default 1. */
  readonly weight?: number;
  /** Requests that it gets at once; more wait in the router. Default: no limit. */
  readonly maxConcurrency?: number;
}

/**
 * `healthy` and `starting` (slow start: its share of the work still grows) take requests, `probing` one at a
 * time; `ejected` (it has failed too often), `down` (it is known not to serve), and `draining` take none.
 */
export type MemberState = "healthy" | "starting" | "probing" | "ejected" | "down" | "draining";

/** How a replica comes back after it has failed. */
export interface RecoveryOptions extends CircuitBreakerOptions {
  /** Time in milliseconds over which a replica that came back gets its full share. Default 10000. */
  readonly slowStartMs?: number;
}

/** By how much a replica that had no room for more is tried with more, each second since. */
const GROWTH = 1.125;

/** Share of its weight that a replica begins a slow start with. */
const FIRST_SHARE = 0.1;

/** A replica: what it is, what it has to do, and whether it may get more. */
export class Member<T> {
  /** Names it. */
  readonly id: string;
  /** What requests are sent to. */
  readonly target: T;
  /** Requests at once. */
  readonly maxConcurrency: number;
  /** Opens when it fails. */
  readonly breaker: CircuitBreaker;
  /** Requests that it has. */
  readonly leases = new Set<Lease<T>>();
  /** How long it has had how many. */
  readonly occupancy: Occupancy;
  /** Its share of the work once it has started. */
  weight: number;
  /** Tokens of those requests. */
  tokens = 0;
  /** Tokens of those of them that have not begun. */
  tokensWaiting = 0;
  /** Why it is known not to serve; null while it is not. */
  down: string | null = null;
  /** True while it gets no new requests because somebody said so. */
  draining = false;
  /** True while it is drained for a while only: requests may wait for it. */
  returning = false;
  /** Requests it has been sent, failures among them. */
  sent = 0;
  /** Requests that it has failed. */
  failed = 0;
  /** Times that it was ejected. */
  ejections = 0;
  /** When bytes of an answer last came, by the pool's clock. */
  lastSign = -Infinity;
  /** Until when its silence means nothing: a probe was answered, or nobody was to be served. */
  excusedUntil = -Infinity;
  readonly #slowStartMs: number;
  readonly #now: () => number;
  readonly #onEject: (reason: string) => void;
  #upSince = -Infinity;
  /** Requests that it had when it last had no room for more, and when that was. */
  #full: { readonly leases: number; readonly at: number } | null = null;
  #ejection: string | null = null;

  /** Throws RangeError when weight or concurrency is not positive. */
  constructor(
    id: string,
    options: MemberOptions & RecoveryOptions & {
      readonly target: T;
      readonly now: () => number;
      readonly occupancy: Occupancy;
      /** Is told when it is ejected, and why. */
      readonly onEject: (reason: string) => void;
    },
  ) {
    const { weight = 1, maxConcurrency = Infinity } = options;
    if (!(weight > 0 && weight < Infinity)) {
      throw new RangeError(`Cannot add the replica ${id} as its weight is not positive: ${weight}`);
    }
    if (!(maxConcurrency >= 1)) {
      throw new RangeError(
        `Cannot add the replica ${id} as its concurrency is not positive: ${maxConcurrency}`,
      );
    }
    this.id = id;
    this.target = options.target;
    this.weight = weight;
    this.maxConcurrency = maxConcurrency;
    this.#now = options.now;
    this.occupancy = options.occupancy;
    this.#onEject = options.onEject;
    this.#slowStartMs = options.slowStartMs ?? 10_000;
    this.breaker = new CircuitBreaker(options);
  }

  /** What it may do now. */
  get state(): MemberState {
    if (this.draining) return "draining";
    if (this.down !== null) return "down";
    const { state } = this.breaker;
    if (state !== "closed") return state === "open" ? "ejected" : "probing";
    return this.#startedShare < 1 ? "starting" : "healthy";
  }

  /** Why it is ejected, or probed before it may return; null while it is neither. */
  get ejection(): string | null {
    return this.breaker.state === "closed" ? null : this.#ejection;
  }

  /**
   * Milliseconds for which nothing was heard of it while a stream waited to begin that was not sent
   * elsewhere before; 0 when none waits.
   */
  get silentMs(): number {
    for (const lease of this.leases) {
      if (lease.started || lease.moved || !lease.request.stream) continue;
      return Math.min(lease.ageMs, this.#now() - Math.max(this.lastSign, this.excusedUntil));
    }
    return 0;
  }

  /** True when it serves, be it with all places taken. */
  get serves(): boolean {
    return !this.draining && this.down === null && this.breaker.state !== "open";
  }

  /** True when it takes a request now. */
  get hasPlace(): boolean {
    return this.serves && this.breaker.lets && this.leases.size < this.#room;
  }

  /** What a policy sees of it. */
  get load(): ReplicaLoad {
    const weight = this.weight * this.#startedShare;
    return { id: this.id, weight, active: this.leases.size, tokens: this.tokens };
  }

  /** A request of it has ended. */
  note(outcome: LeaseOutcome): void {
    if (outcome === "full") this.#full = { leases: this.leases.size, at: this.#now() };
    if (outcome === "served") this.breaker.succeed();
    else if (outcome !== "failed") this.breaker.giveUp();
    else {
      this.failed++;
      const { state } = this.breaker;
      this.breaker.fail();
      if (state !== "open" && this.breaker.state === "open") this.#ejected("failed too often");
    }
  }

  /** It is worse than others: it gets nothing until a probe brings it back. */
  eject(reason: string): void {
    this.breaker.trip();
    this.#ejected(reason);
  }

  /** It is known not to serve. */
  setDown(reason: string): void {
    this.down = reason;
  }

  /** It is known to serve; after a time when it did not, it starts slowly. */
  setUp(): void {
    if (this.down !== null) this.#upSince = this.#now();
    this.down = null;
  }

  #ejected(reason: string): void {
    this.ejections++;
    this.#ejection = reason;
    this.#onEject(reason);
  }

  /** Requests that it may have at once: as many as it had when it refused one, and more the longer ago that was. */
  get #room(): number {
    if (this.#full === null) return this.maxConcurrency;
    const { leases, at } = this.#full;
    const seconds = Math.floor((this.#now() - at) / 1000);
    return Math.min(this.maxConcurrency, Math.ceil(leases * GROWTH ** seconds));
  }

  /** Share of its weight that it gets: below 1 after it came back. */
  get #startedShare(): number {
    const since = Math.min(this.#now() - this.#upSince, this.breaker.closedForMs);
    if (this.#slowStartMs === 0 || since >= this.#slowStartMs) return 1;
    return Math.max(FIRST_SHARE, since / this.#slowStartMs);
  }
}
