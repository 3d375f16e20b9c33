/**
 * Requests that wait for a place.
 * @module
 */
import { NoReplicaError } from "./errors.ts";
import { LONGEST_TIMER_MS } from "./within.ts";

/** Options of {@linkcode WaitingQueue.wait}. */
export interface WaitOptions {
  /** Time to wait at most, in milliseconds. */
  readonly deadlineMs: number;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
}

interface Entry<T> {
  /** A place, or null while there is none. */
  readonly take: () => T | null;
  readonly settle: (settle: () => void) => void;
  readonly resolve: (place: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** First come, first served, until a deadline. */
export class WaitingQueue<T> {
  readonly #limit: number;
  readonly #entries = new Set<Entry<T>>();

  /** For `limit` at most; throws RangeError when that is not a count. */
  constructor(limit: number) {
    if (!Number.isSafeInteger(limit) || limit < 0) {
      throw new RangeError(`Cannot limit the queue as the limit is not a count: ${limit}`);
    }
    this.#limit = limit;
  }

  /** How many wait. */
  get size(): number {
    return this.#entries.size;
  }

  /** Waits until `take` gives a place; rejects with NoReplicaError (full, deadline) or the signal's reason. */
  wait(take: () => T | null, { deadlineMs, signal }: WaitOptions): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const size = this.#entries.size;
    if (size >= this.#limit) {
      return Promise.reject(
        new NoReplicaError(
          `Cannot accept the request as too many wait for a replica: ${size} of ${this.#limit}`,
          "full",
        ),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const settle = (how: () => void): void => {
      this.#entries.delete(entry);
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      how();
    };
    const entry: Entry<T> = { take, settle, resolve, reject };
    const onAbort = (): void => settle(() => reject(signal?.reason));
    const timer = setTimeout(() => {
      const message = `Cannot serve the request as no replica had room within ${deadlineMs} ms`;
      settle(() => reject(new NoReplicaError(message, "deadline")));
    }, Math.min(deadlineMs, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#entries.add(entry);
    return promise;
  }

  /**
   * Gives places to those who have waited longest, for as long as there are any; `pastFirst` asks for everybody, as
   * not every place suits everybody.
   */
  serve({ pastFirst = false }: { readonly pastFirst?: boolean } = {}): void {
    for (const { take, settle, resolve, reject } of this.#entries) {
      try {
        const place = take();
        if (place === null) {
          if (pastFirst) continue;
          return;
        }
        settle(() => resolve(place));
      } catch (error) {
        settle(() => reject(error));
      }
    }
  }

  /** Turns everybody away. */
  fail(reason: unknown): void {
    for (const { settle, reject } of this.#entries) settle(() => reject(reason));
  }
}
