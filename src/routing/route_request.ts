/**
 * One request's way over the replicas until one has begun to answer.
 * @module
 */
import { Attempt, AttemptError, type AttemptOptions } from "./attempt.ts";
import type { RoutedRequest } from "./balancing_policy.ts";
import { NoReplicaError } from "./errors.ts";
import type { Lease } from "./lease.ts";
import type { ReplicaPool } from "./replica_pool.ts";
import type { RetryBudget } from "./retry_budget.ts";
import { within } from "./within.ts";

/** Is told what a request costs beside its first attempt. */
export interface RouteObserver {
  /** It is sent again. */
  retried(): void;
  /** It is sent to a second replica beside the first. */
  hedged(): void;
  /** The second replica began first. */
  hedgeWon(): void;
}

/** What {@linkcode routeRequest} needs. */
export interface RouteOptions<T, R> extends AttemptOptions<T, R> {
  /** Where places come from. */
  readonly pool: ReplicaPool<T>;
  /** Pays for retries and hedges. */
  readonly budget: RetryBudget;
  /** What policies see. */
  readonly request: RoutedRequest;
  /** Time to wait for a place, over all attempts, in milliseconds. */
  readonly queueDeadlineMs: number;
  /**
   * Time in milliseconds after which a stream that has not begun is sent to a second replica, too; null for
   * never. Of any other answer nobody knows whether it was begun.
   */
  readonly hedgeAfterMs: number | null;
  /** Is told what the request costs. */
  readonly observer?: RouteObserver;
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

/** An attempt that failed, when the request may be sent again. */
class Failed {
  /** Why, should nobody serve the request. */
  readonly error: unknown;
  /** Whether sending it again costs nothing. */
  readonly free: boolean;

  constructor(error: unknown, free: boolean) {
    this.error = error;
    this.free = free;
  }
}

/**
 * Sends a request to replicas until one begins to answer. One whose connection was lost is sent to the next
 * replica at no cost, and so is one that a replica has no room for, which may have to wait; one that was answered by
 * a failure, or not in time, only while the budget lasts.
 *
 * Rejects with NoReplicaError, the last AttemptError, the reason of `signal`, or what `attempt` threw.
 */
export function routeRequest<T, R>(options: RouteOptions<T, R>): Promise<Routed<T, R>> {
  return new Route(options).run();
}

class Route<T, R> {
  readonly #options: RouteOptions<T, R>;
  readonly #deadline: number;
  /** Replicas that have failed the request, or that it was taken from. */
  readonly #tried = new Set<string>();
  #failure: AttemptError | null = null;

  constructor(options: RouteOptions<T, R>) {
    this.#options = options;
    this.#deadline = performance.now() + options.queueDeadlineMs;
    options.budget.deposit();
  }

  async run(): Promise<Routed<T, R>> {
    const { budget, observer, request, hedgeAfterMs } = this.#options;
    while (true) {
      const attempt = new Attempt(await this.#acquire(), this.#options);
      const result = hedgeAfterMs === null || !request.stream
        ? await this.#outcome(attempt)
        : await this.#hedged(attempt, hedgeAfterMs);
      if (!(result instanceof Failed)) return result;
      if (!result.free && !budget.withdraw()) throw result.error;
      observer?.retried();
    }
  }

  async #acquire(): Promise<Lease<T>> {
    const { pool, request, signal } = this.#options;
    try {
      const deadlineMs = Math.max(0, this.#deadline - performance.now());
      return await pool.acquire(request, { avoid: this.#tried, deadlineMs, signal });
    } catch (error) {
      // What the last replica said tells a client more than that there is none.
      throw error instanceof NoReplicaError && this.#failure?.response ? this.#failure : error;
    }
  }

  /** How an attempt went; throws when the request must not be sent again. */
  async #outcome(attempt: Attempt<T, R>): Promise<Routed<T, R> | Failed> {
    const { lease } = attempt;
    try {
      const result = await attempt.begun;
      return { lease, result, abort: (reason) => attempt.abort(reason) };
    } catch (error) {
      const gone = this.#options.signal.aborted;
      const failure = error instanceof AttemptError ? error.failure : null;
      // One that has nothing to do for this router, and refuses all the same, is of no use to it.
      const isFull = failure === "full" && !lease.alone;
      if (gone || lease.withdrawn) lease.end("cancelled");
      else lease.end(isFull ? "full" : failure === null ? "served" : "failed");
      if (gone) throw error;
      const first = !this.#tried.has(lease.id);
      // Of those that were taken back, too: a policy that likes this replica best must not return it.
      this.#tried.add(lease.id);
      if (lease.withdrawn) return new Failed(error, true);
      if (!(error instanceof AttemptError)) throw error;
      this.#failure = error;
      return new Failed(error, isFull || (failure === "lost" && first));
    }
  }

  /** The outcome of an attempt or, where it does not begin in time, of the first of two that begins. */
  async #hedged(first: Attempt<T, R>, afterMs: number): Promise<Routed<T, R> | Failed> {
    const outcome = this.#outcome(first);
    if (await within(outcome, afterMs)) return await outcome;
    const second = this.#hedge(first);
    if (second === null) return await outcome;
    const attempts = [first, second];
    const outcomes = [outcome, this.#outcome(second)];
    try {
      const at = await Promise.race(outcomes.map((each, i) => each.then(() => i)));
      const result = await outcomes[at];
      if (result instanceof Failed) return either(result, await outcomes[1 - at]);
      giveUp(attempts[1 - at], "outrun");
      if (at === 1) this.#options.observer?.hedgeWon();
      return result;
    } catch (error) {
      for (const attempt of attempts) giveUp(attempt, "cancelled");
      throw error;
    }
  }

  /** A second attempt beside `first`; null where the budget is spent or no other replica has room. */
  #hedge(first: Attempt<T, R>): Attempt<T, R> | null {
    const { pool, budget, request, observer } = this.#options;
    if (budget.balance < 1) return null;
    const lease = pool.tryAcquireOther(request, new Set([...this.#tried, first.lease.id]));
    if (lease === null) return null;
    budget.withdraw();
    observer?.hedged();
    return new Attempt(lease, this.#options);
  }
}

/** Both attempts have ended, the first of them without an answer. */
function either<T, R>(failed: Failed, other: Routed<T, R> | Failed): Routed<T, R> | Failed {
  return other instanceof Failed ? new Failed(other.error, failed.free || other.free) : other;
}

/** Gives an attempt up. */
function giveUp<T, R>(attempt: Attempt<T, R>, outcome: "outrun" | "cancelled"): void {
  attempt.lease.end(outcome);
  attempt.abort(new Error("Another replica has answered, or nobody wants it any more"));
}
