/**
 * One try of a request at one replica.
 * @module
 */
import type { CoarseTimers } from "./coarse_timers.ts";
import type { Lease } from "./lease.ts";

/**
 * How a replica failed a request before the first byte of an answer: `lost`: it took the request or refused
 * it, and its connection ended; `full`: it answered that it has too many; `failed`: that it can't.
 */
export type AttemptFailure = "lost" | "full" | "failed";

/** A replica has failed a request that another may still serve. */
export class AttemptError extends Error {
  /** What happened. */
  readonly failure: AttemptFailure;
  /** What is to be answered when nobody serves the request; null for a plain 502. */
  readonly response: Response | null;
  /** Says what happened. */
  constructor(
    message: string,
    options: ErrorOptions & { readonly failure: AttemptFailure; readonly response?: Response },
  ) {
    super(message, options);
    this.name = "AttemptError";
    this.failure = options.failure;
    this.response = options.response ?? null;
  }
}

/** How an {@linkcode Attempt} is made. */
export interface AttemptOptions<T, R> {
  /**
   * Sends the request and resolves when the first byte has come, which it reports by `lease.received()`.
   * Rejects with {@linkcode AttemptError} when another replica may try; any other error is passed on.
   */
  readonly attempt: (lease: Lease<T>, signal: AbortSignal) => Promise<R>;
  /** Time in milliseconds that a replica has for its first byte. */
  readonly firstByteTimeoutMs: number;
  /** Times it. */
  readonly timers: CoarseTimers;
  /** Fires when the client has gone: ends the attempt, and what it has given. */
  readonly signal: AbortSignal;
}

/** A request at a replica: from when it is sent until its first byte has come, or it has failed. */
export class Attempt<T, R> {
  /** Its place. */
  readonly lease: Lease<T>;
  /** What it gives; rejects as {@linkcode AttemptOptions.attempt} does, or with the reason of its end. */
  readonly begun: Promise<R>;
  readonly #end = new AbortController();

  /** Sends. */
  constructor(lease: Lease<T>, options: AttemptOptions<T, R>) {
    this.lease = lease;
    this.begun = this.#send(options);
  }

  /** Ends it, or what it has given. */
  abort(reason: unknown): void {
    this.#end.abort(reason);
  }

  async #send(options: AttemptOptions<T, R>): Promise<R> {
    const { attempt, firstByteTimeoutMs, timers, signal } = options;
    const { lease } = this;
    const end = this.#end;
    signal.throwIfAborted();
    signal.addEventListener("abort", () => end.abort(signal.reason), { once: true });
    const onWithdrawn = (): void => end.abort(new Error("The request was taken back"));
    if (lease.withdrawn) onWithdrawn();
    lease.onWithdrawn = onWithdrawn;
    const timer = timers.set(() => {
      const message = `Cannot get an answer from ${lease.id} within ${firstByteTimeoutMs} ms`;
      end.abort(new AttemptError(message, { failure: "failed" }));
    }, firstByteTimeoutMs);
    try {
      return await attempt(lease, end.signal);
    } catch (error) {
      throw end.signal.aborted ? end.signal.reason : error;
    } finally {
      timer.clear();
      lease.onWithdrawn = null;
    }
  }
}
