/**
 * Keeps requests from a replica that fails, and finds out when it works again.
 * @module
 */

/** Options of {@linkcode CircuitBreaker}. */
export interface CircuitBreakerOptions {
  /** Failures in a row that open the circuit. Default 3. */
  readonly failures?: number;
  /** Time in milliseconds that it stays open at first; it doubles with each time in a row. Default 1000. */
  readonly openMs?: number;
  /** The longest time that it stays open, in milliseconds. Default 30000. */
  readonly maxOpenMs?: number;
  /** The time in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** `closed` lets every request through, `open` none, `half-open` one at a time, as a probe. */
export type CircuitState = "closed" | "open" | "half-open";

/**
 * A circuit breaker (Nygard, Release It!): it opens after some failures in a row, lets one probe through
 * after a while, and closes when that succeeds.
 */
export class CircuitBreaker {
  readonly #limit: number;
  readonly #openMs: number;
  readonly #maxOpenMs: number;
  readonly #now: () => number;
  #failures = 0;
  #openings = 0;
  #openUntil: number | null = null;
  #closedAt = -Infinity;
  #probing = false;

  /** Closed, and without a past. */
  constructor(options: CircuitBreakerOptions = {}) {
    this.#limit = options.failures ?? 3;
    this.#openMs = options.openMs ?? 1000;
    this.#maxOpenMs = options.maxOpenMs ?? 30_000;
    this.#now = options.now ?? (() => performance.now());
  }

  /** What it lets through now. */
  get state(): CircuitState {
    if (this.#openUntil === null) return "closed";
    return this.#now() < this.#openUntil ? "open" : "half-open";
  }

  /** Whether a request may go: always while closed, and one at a time while half-open. */
  get lets(): boolean {
    const { state } = this;
    return state === "closed" || (state === "half-open" && !this.#probing);
  }

  /** Time in milliseconds since it was closed after having been open; Infinity when it never was. */
  get closedForMs(): number {
    return this.#now() - this.#closedAt;
  }

  /** A request goes: while half-open it is the probe, and must be followed by its result. */
  enter(): void {
    if (this.state === "half-open") this.#probing = true;
  }

  /** A request has succeeded. */
  succeed(): void {
    this.#failures = 0;
    this.#probing = false;
    if (this.#openUntil !== null) {
      // An answer to a request from before it opened proves nothing about now.
      if (this.state === "open") return;
      this.#openUntil = null;
      this.#closedAt = this.#now();
    } else if (this.closedForMs > this.#maxOpenMs) {
      this.#openings = 0;
    }
  }

  /** A request has failed. */
  fail(): void {
    this.#failures++;
    const { state } = this;
    if (state === "half-open" ? this.#probing : this.#failures >= this.#limit) this.trip();
  }

  /** A request was given up for reasons that are not the replica's. */
  giveUp(): void {
    this.#probing = false;
  }

  /** Opens the circuit; nothing happens while it is open. */
  trip(): void {
    if (this.state === "open") return;
    const openMs = Math.min(this.#maxOpenMs, this.#openMs * 2 ** this.#openings++);
    this.#openUntil = this.#now() + openMs;
    this.#failures = 0;
    this.#probing = false;
  }
}
