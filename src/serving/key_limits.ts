/**
 * Limits of what is asked with one API key.
 * @module
 */
import { ApiError } from "./api_error.ts";

/** Options of {@linkcode KeyLimits}: limits of each key by itself, none where they are left out. */
export interface KeyLimitOptions {
  /** Requests inside at once, those whose answers are still being read included. */
  readonly maxConcurrency?: number;
  /** Requests that are let in during any 60 seconds. */
  readonly requestsPerMinute?: number;
}

const MINUTE_MS = 60_000;

/** Times that are remembered for a key at most. */
const MAX_REQUESTS_PER_MINUTE = 1_000_000;

interface KeyUse {
  active: number;
  /** When the latest requests were let in, in a ring: `next` is the oldest place. */
  readonly times: number[];
  next: number;
}

/** Counts requests by key. */
export class KeyLimits {
  readonly #concurrency: number;
  readonly #perMinute: number;
  readonly #now: () => number;
  readonly #uses = new Map<number, KeyUse>();

  /** Throws RangeError when a limit is not a positive count. `now` is the clock, in milliseconds. */
  constructor(
    { maxConcurrency, requestsPerMinute }: KeyLimitOptions = {},
    now: () => number = () => performance.now(),
  ) {
    this.#concurrency = checked("maxConcurrency", maxConcurrency, Number.MAX_SAFE_INTEGER);
    this.#perMinute = checked("requestsPerMinute", requestsPerMinute, MAX_REQUESTS_PER_MINUTE);
    this.#now = now;
  }

  /**
   * Lets a request in until the returned place is disposed; throws ApiError 429 that names the limit and, in
   * `Retry-After`, the seconds after which there is room.
   */
  enter(key: number): Disposable {
    const use = this.#useOf(key);
    if (use.active >= this.#concurrency) {
      throw tooMany(`requests at once: ${this.#concurrency}`, {
        code: "concurrency_limit_exceeded",
        seconds: 1,
      });
    }
    this.#count(use);
    use.active++;
    let inside = true;
    return {
      [Symbol.dispose]: () => {
        if (inside) use.active--;
        inside = false;
      },
    };
  }

  #useOf(key: number): KeyUse {
    const use = this.#uses.get(key) ?? { active: 0, times: [], next: 0 };
    this.#uses.set(key, use);
    return use;
  }

  #count(use: KeyUse): void {
    if (this.#perMinute === Infinity) return;
    const now = this.#now();
    if (use.times.length < this.#perMinute) {
      use.times.push(now);
      return;
    }
    const wait = use.times[use.next] + MINUTE_MS - now;
    if (wait > 0) {
      throw tooMany(`requests per minute: ${this.#perMinute}`, {
        code: "rate_limit_exceeded",
        seconds: Math.ceil(wait / 1000),
      });
    }
    use.times[use.next] = now;
    use.next = (use.next + 1) % use.times.length;
  }
}

function checked(name: string, value: number | undefined, max: number): number {
  if (value === undefined) return Infinity;
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new RangeError(`Cannot limit keys as ${name} is not a count from 1 to ${max}: ${value}`);
}

function tooMany(
  limit: string,
  { code, seconds }: { readonly code: string; readonly seconds: number },
): ApiError {
  return new ApiError(
    `Cannot accept the request as its API key has reached its limit of ${limit}`,
    { status: 429, code, headers: { "retry-after": String(seconds) } },
  );
}
