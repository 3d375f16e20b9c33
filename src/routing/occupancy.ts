/**
 * How busy replicas have been, and with how many others beside them.
 * @module
 */

/** Sums over a replica's past, in seconds: two readings tell of the time between them. */
export interface OccupancyReading {
  /** Time with at least one request. */
  readonly busy: number;
  /** Time times requests: over `busy` it is their mean number. */
  readonly requests: number;
  /** Busy time times the replicas that were busy, itself among them. */
  readonly companions: number;
  /** Busy time times the square of that number. */
  readonly companionsSquared: number;
}

/** How many replicas of a fleet are busy, summed up over time. */
export class FleetOccupancy {
  readonly #now: () => number;
  #at: number;
  #busy = 0;
  #sum = 0;
  #sumOfSquares = 0;

  /** Of a fleet that is idle; `now` counts milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#at = now();
  }

  /** The time in seconds, and the sums over it of busy replicas and of their number's square. */
  read(): readonly [at: number, sum: number, sumOfSquares: number] {
    const now = this.#now();
    const seconds = (now - this.#at) / 1000;
    this.#at = now;
    this.#sum += seconds * this.#busy;
    this.#sumOfSquares += seconds * this.#busy ** 2;
    return [now / 1000, this.#sum, this.#sumOfSquares];
  }

  /** One more replica is busy (1), or one fewer (-1), since the last {@linkcode read}. */
  count(change: 1 | -1): void {
    this.#busy += change;
  }
}

/** Adds up how long a replica had how many requests, and how many replicas were busy meanwhile. */
export class Occupancy {
  readonly #fleet: FleetOccupancy;
  #since: readonly [at: number, sum: number, sumOfSquares: number];
  #active = 0;
  #busy = 0;
  #requests = 0;
  #companions = 0;
  #companionsSquared = 0;

  /** Of a replica of `fleet` that is idle so far. */
  constructor(fleet: FleetOccupancy) {
    this.#fleet = fleet;
    this.#since = fleet.read();
  }

  /** The replica has `active` requests from now on. */
  change(active: number): void {
    const now = this.#fleet.read();
    if (this.#active > 0) {
      const [at, sum, sumOfSquares] = this.#since;
      this.#busy += now[0] - at;
      this.#requests += (now[0] - at) * this.#active;
      this.#companions += now[1] - sum;
      this.#companionsSquared += now[2] - sumOfSquares;
    }
    this.#since = now;
    if (this.#active === 0 && active > 0) this.#fleet.count(1);
    if (this.#active > 0 && active === 0) this.#fleet.count(-1);
    this.#active = active;
  }

  /** The sums up to now. */
  read(): OccupancyReading {
    this.change(this.#active);
    return {
      busy: this.#busy,
      requests: this.#requests,
      companions: this.#companions,
      companionsSquared: this.#companionsSquared,
    };
  }
}
