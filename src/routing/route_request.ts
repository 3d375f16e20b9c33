/**
 * One request's way over the replicas until one has begun to answer.
 * @module
 */
import type { RoutedRequest } from "./balancing_policy.ts";
import { NoReplicaError } from "./errors.ts";
import type { Lease } from "./lease.ts";
import type { ReplicaPool } from "./replica_pool.ts";
import type { RetryBudget } from "./retry_budget.ts";

/**
 * How a replica failed a request before the first byte of an answer: `lost`: it took the request or refused
 * it, and its connection ended; `failed`: it answered that it can't.
 */
export type AttemptFailure = "lost" | "failed";

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

/** What {@linkcode routeRequest} needs. */
export interface RouteOptions<T, R> {
  /** Where places come from. */
  readonly pool: ReplicaPool<T>;
  /** Pays for retries. */
  readonly budget: RetryBudget;
  /** What policies see. */
  readonly request: RoutedRequest;
  /**
   * Sends the request and resolves when the first byte has come, which it reports by `lease.received()`.
   * Rejects with {@linkcode AttemptError} when another replica may try; any other error is passed on.
   */
  readonly attempt: (lease: Lease<T>, signal: AbortSignal) => Promise<R>;
  /** Time to wait for a place, over all attempts, in milliseconds. */
  readonly queueDeadlineMs: number;
  /** Time in milliseconds that a replica has for its first byte. */
  readonly firstByteTimeoutMs: number;
  /** Fires when the client has gone. */
  readonly signal: AbortSignal;
}

/** An answer that has begun, and the place that it holds until it ends. */
export interface Routed<T, R> {
  /** To be ended with the answer. */
  readonly lease: Lease<T>;
  /** What the attempt gave. */
  readonly result: R;
  /** Ends what the attempt's signal ends, should it still go on. */
  readonly abort: (reason: unknown) => void;
}

/**
 * Sends a request to replicas until one begins to answer. One whose connection was lost is sent to the next
 * replica at no cost; one that was answered by a failure, or not in time, only while the budget lasts.
 *
 * Rejects with NoReplicaError, the last AttemptError, the reason of `signal`, or what `attempt` threw.
 */
export async function routeRequest<T, R>(options: RouteOptions<T, R>): Promise<Routed<T, R>> {
  const { pool, budget, request, signal } = options;
  budget.deposit();
  const deadline = performance.now() + options.queueDeadlineMs;
  const avoid = new Set<string>();
  let failure: AttemptError | null = null;
  while (true) {
    const lease = await acquire();
    try {
      return await attemptInTime(lease, options);
    } catch (error) {
      if (signal.aborted || lease.withdrawn.aborted) lease.end("cancelled");
      if (signal.aborted) throw error;
      if (lease.withdrawn.aborted) {
        // It was taken back for others: a policy that likes this replica best must not return it.
        avoid.add(lease.id);
        continue;
      }
      lease.end(error instanceof AttemptError ? "failed" : "served");
      if (!(error instanceof AttemptError)) throw error;
      failure = error;
      const free = error.failure === "lost" && !avoid.has(lease.id);
      if (!free && !budget.withdraw()) throw error;
      avoid.add(lease.id);
    }
  }

  async function acquire(): Promise<Lease<T>> {
    try {
      const deadlineMs = Math.max(0, deadline - performance.now());
      return await pool.acquire(request, { avoid, deadlineMs, signal });
    } catch (error) {
      // What the last replica said tells a client more than that there is none.
      throw error instanceof NoReplicaError && failure?.response ? failure : error;
    }
  }
}

async function attemptInTime<T, R>(
  lease: Lease<T>,
  { attempt, signal, firstByteTimeoutMs }: RouteOptions<T, R>,
): Promise<Routed<T, R>> {
  signal.throwIfAborted();
  const end = new AbortController();
  const onAbort = (event: Event): void => end.abort((event.target as AbortSignal).reason);
  const sources = [signal, lease.withdrawn];
  for (const source of sources) source.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => {
    const message = `Cannot get an answer from ${lease.id} within ${firstByteTimeoutMs} ms`;
    end.abort(new AttemptError(message, { failure: "failed" }));
  }, Math.min(firstByteTimeoutMs, 2 ** 31 - 1));
  try {
    const result = await attempt(lease, end.signal);
    return { lease, result, abort: (reason) => end.abort(reason) };
  } catch (error) {
    throw end.signal.aborted ? end.signal.reason : error;
  } finally {
    clearTimeout(timer);
    // The client's going ends the answer too, not only the attempt: the caller sees to that.
    for (const source of sources) source.removeEventListener("abort", onAbort);
  }
}
