/**
 * How long to wait before something is tried again.
 * @module
 */

/** Options of {@linkcode BackOff}. */
export interface BackOffOptions {
  /** The first wait at most, in milliseconds; it doubles with each in a row. Default 1000. */
  readonly firstMs?: number;
  /** The longest wait, in milliseconds. Default 60000. */
  readonly maxMs?: number;
  /** What has worked for so long, in milliseconds, begins anew. Default 60000. */
  readonly resetAfterMs?: number;
  /** Random numbers from 0 to 1. Default `Math.random`. */
  readonly random?: () => number;
}

/** Exponential back-off with jitter: half of each wait is random, so that what fails together returns apart. */
export class BackOff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #resetAfterMs: number;
  readonly #random: () => number;
  #failures = 0;

  /** Begins with the first wait. */
  constructor(options: BackOffOptions = {}) {
    this.#firstMs = options.firstMs ?? 1000;
    this.#maxMs = options.maxMs ?? 60_000;
    this.#resetAfterMs = options.resetAfterMs ?? 60_000;
    this.#random = options.random ?? Math.random;
  }

  /** Milliseconds to wait after what has worked for `workedMs` has failed. */
  next(workedMs: number): number {
    if (workedMs >= this.#resetAfterMs) this.#failures = 0;
    const waitMs = Math.min(this.#maxMs, this.#firstMs * 2 ** this.#failures++);
    return waitMs * (0.5 + 0.5 * this.#random());
  }
}
