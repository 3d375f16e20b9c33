/**
 * One request's place at one replica.
 * @module
 */
import type { RoutedOutcome, RoutedRequest } from "./balancing_policy.ts";
import type { Member } from "./member.ts";

/** What a pool wants to know of a lease. */
export interface LeaseOwner<T> {
  /** The lease has ended. */
  release(lease: Lease<T>, outcome: LeaseOutcome): void;
}

/** How a request ended at a replica; `cancelled` says nothing about the replica. */
export type LeaseOutcome = "served" | "failed" | "cancelled";

/** A request's place at a replica, from when it is chosen until the answer has ended. Disposing cancels. */
export class Lease<T> implements Disposable {
  /** The replica. */
  readonly member: Member<T>;
  /** What was asked. */
  readonly request: RoutedRequest;
  readonly #owner: LeaseOwner<T>;
  readonly #now: () => number;
  readonly #sentAt: number;
  readonly #withdrawn = new AbortController();
  #firstByteMs: number | null = null;
  #ended = false;

  /** Made by the pool. */
  constructor(
    owner: LeaseOwner<T>,
    options: {
      readonly member: Member<T>;
      readonly request: RoutedRequest;
      readonly now: () => number;
    },
  ) {
    this.#owner = owner;
    this.member = options.member;
    this.request = options.request;
    this.#now = options.now;
    this.#sentAt = options.now();
  }

  /** Names the replica. */
  get id(): string {
    return this.member.id;
  }

  /** What the request is to be sent to. */
  get target(): T {
    return this.member.target;
  }

  /** True once the first byte has come. */
  get started(): boolean {
    return this.#firstByteMs !== null;
  }

  /** Fires when the request should be taken back, as another replica has nothing to do. */
  get withdrawn(): AbortSignal {
    return this.#withdrawn.signal;
  }

  /** Takes the request back, if nothing has come of it yet. */
  withdraw(): void {
    if (!this.started && !this.#ended) this.#withdrawn.abort();
  }

  /** Bytes of the answer have come. */
  received(): void {
    const now = this.#now();
    this.#firstByteMs ??= now - this.#sentAt;
    this.member.lastSign = now;
  }

  /** The request has ended; what comes later says nothing more. */
  end(outcome: LeaseOutcome): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#owner.release(this, outcome);
  }

  /** Times so far, for a policy. */
  outcome(failed: boolean): RoutedOutcome {
    return { firstByteMs: this.#firstByteMs, totalMs: this.#now() - this.#sentAt, failed };
  }

  /** Cancels. */
  [Symbol.dispose](): void {
    this.end("cancelled");
  }
}
