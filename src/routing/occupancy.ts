/**
 * How busy a replica has been.
 * @module
 */

/** Sums over a replica's past, in seconds: two readings tell of the time between them. */
export interface OccupancyReading {
  /** When it was read. */
  readonly at: number;
  /** Time with at least one request. */
  readonly busy: number;
  /** Time times requests: over `busy` it is their mean number. */
  readonly requests: number;
}

/** Adds up how long a replica had how many requests. */
export class Occupancy {
  readonly #now: () => number;
  #changedAt: number;
  #active = 0;
  #busy = 0;
  #requests = 0;

  /** Idle so far; `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#changedAt = now();
  }

  /** The replica has `active` requests from now on. */
  change(active: number): void {
    const now = this.#now();
    if (this.#active > 0) {
      const seconds = (now - this.#changedAt) / 1000;
      this.#busy += seconds;
      this.#requests += seconds * this.#active;
    }
    this.#changedAt = now;
    this.#active = active;
  }

  /** The sums up to now. */
  read(): OccupancyReading {
    this.change(this.#active);
    return { at: this.#changedAt / 1000, busy: this.#busy, requests: this.#requests };
  }
}
